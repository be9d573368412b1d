using System.Globalization;
using System.Runtime.CompilerServices;
using Adadelta.Native;

namespace Adadelta.Training;

/// <summary>Argument checks whose messages name the argument, its value and what was expected.</summary>
internal static class Require
{
    /// <summary>Throws "name: value, expected …" unless <paramref name="holds"/>.</summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="holds"/> is false.</exception>
    public static void That<T>(bool holds, string name, T value, string expected)
    {
        if (!holds)
        {
            throw new ArgumentOutOfRangeException(
                name, string.Create(CultureInfo.InvariantCulture, $"{name}: {value}, expected {expected}"));
        }
    }

    /// <inheritdoc cref="That{T}(bool, string, T, string)"/>
    /// <remarks>The text is put together only when it is needed, so that a check in a loop allocates nothing.</remarks>
    public static void That<T>(
        bool holds, string name, T value, [InterpolatedStringHandlerArgument(nameof(holds))] ref Expectation expected)
    {
        if (!holds)
        {
            That(holds, name, value, expected.ToText());
        }
    }

    /// <summary>Throws unless the network can take the data set's images and tell its classes apart.</summary>
    /// <exception cref="ArgumentException">The images' shape or the number of classes does not fit.</exception>
    public static void Fits(ImageDataset data, Network network, [CallerArgumentExpression(nameof(data))] string name = "")
    {
        if (data.Shape != network.InputShape)
        {
            throw new ArgumentException(
                $"{name}: images of data set '{data.Name}' are {data.Shape}, expected the network's input {network.InputShape}",
                name);
        }
        if (data.Classes > network.OutputCount)
        {
            throw new ArgumentException(
                $"{name}: data set '{data.Name}' has {data.Classes} classes, expected at most the network's "
                + $"{network.OutputCount} outputs", name);
        }
    }

    /// <summary>An interpolated text that is not put together while the check holds.</summary>
    [InterpolatedStringHandler]
    internal ref struct Expectation
    {
        private DefaultInterpolatedStringHandler _text;

        public Expectation(int literalLength, int formattedCount, bool holds, out bool wanted)
        {
            wanted = !holds;
            _text = holds ? default : new(literalLength, formattedCount, CultureInfo.InvariantCulture);
        }

        public void AppendLiteral(string text) => _text.AppendLiteral(text);

        public void AppendFormatted<T>(T value) => _text.AppendFormatted(value);

        public string ToText() => _text.ToStringAndClear();
    }
}
