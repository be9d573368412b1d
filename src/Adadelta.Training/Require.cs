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
}
