using System.Globalization;
using System.Runtime.InteropServices;
using Adadelta.Native;

namespace Adadelta.Training;

/// <summary>A named array of numbers that is read when it is written, piece by piece: a file of many needs room for a piece.</summary>
/// <param name="Name">As <see cref="SafeTensor.Name"/>.</param>
/// <param name="Type">As <see cref="SafeTensor.Type"/>.</param>
/// <param name="Shape">As <see cref="SafeTensor.Shape"/>.</param>
/// <param name="ByteCount">Bytes of the elements.</param>
/// <param name="CopyTo">Copies some from an offset, in row-major order and the machine's byte order.</param>
/// <param name="Values">What they must be.</param>
internal sealed record TensorSource(
    string Name, string Type, long[] Shape, long ByteCount, TensorSource.Copier CopyTo, TensorValues Values)
{
    public const int PieceBytes = 1 << 24;

    public delegate void Copier(long offset, Span<byte> bytes);

    public static TensorSource Of(SafeTensor tensor) => new(
        tensor.Name, tensor.Type, tensor.Shape, tensor.Bytes.Length,
        (offset, bytes) => tensor.Bytes.AsSpan((int)offset, bytes.Length).CopyTo(bytes), TensorValues.Any);
}

/// <summary>A named array of numbers that was read from a file.</summary>
/// <param name="Name">As <see cref="SafeTensor.Name"/>.</param>
/// <param name="Type">As <see cref="SafeTensor.Type"/>.</param>
/// <param name="Shape">As <see cref="SafeTensor.Shape"/>.</param>
/// <param name="Pieces">The elements in row-major order and the machine's byte order; an element is in one piece.</param>
internal sealed record StoredTensor(string Name, string Type, long[] Shape, IReadOnlyList<byte[]> Pieces)
{
    // Twice as many bytes, which 16-bit elements take as float32, still fit an array.
    public const int PieceBytes = 1 << 29;

    public long ByteCount => Pieces.Sum(piece => (long)piece.Length);

    /// <summary>All elements, of a tensor of one piece.</summary>
    public byte[] Bytes => Pieces switch
    {
        [] => [],
        [var all] => all,
        _ => throw new InvalidOperationException($"tensor '{Name}' has {ByteCount} bytes in {Pieces.Count} pieces, expected 1"),
    };

    /// <summary>What is wrong with the values, or null.</summary>
    public string? Fault(TensorValues values)
    {
        long offset = 0;
        foreach (var piece in Pieces)
        {
            if (TensorValueCheck.Fault(Type, values, piece, offset) is { } fault)
            {
                return fault;
            }
            offset += piece.Length;
        }
        return null;
    }

    /// <summary>Sets a tensor of the same type and shape.</summary>
    public void CopyTo(DeviceTensor tensor)
    {
        long offset = 0;
        foreach (var piece in Pieces)
        {
            tensor.WriteBytes(piece, offset);
            offset += piece.Length;
        }
    }
}

/// <summary>What a safetensors file holds.</summary>
internal sealed record StoredFile(IReadOnlyList<StoredTensor> Tensors, IReadOnlyDictionary<string, string> Metadata);

/// <summary>What the elements of a tensor must be.</summary>
internal enum TensorValues
{
    Any,
    Finite,

    /// <summary>Finite and at least 0.</summary>
    NotNegative,
}

internal static class TensorValueCheck
{
    /// <summary>The first element that is not what it must be, or null.</summary>
    /// <param name="type">Type of the elements; both parts of a complex one are looked at.</param>
    /// <param name="values">What they must be.</param>
    /// <param name="bytes">Elements in the machine's byte order.</param>
    /// <param name="offset">Bytes of the tensor before them.</param>
    public static string? Fault(string type, TensorValues values, ReadOnlySpan<byte> bytes, long offset)
    {
        if (values == TensorValues.Any)
        {
            return null;
        }
        var least = values == TensorValues.NotNegative ? 0 : double.MinValue;
        switch (type)
        {
            case SafeTensors.Float32 or SafeTensors.Complex64:
                var singles = MemoryMarshal.Cast<byte, float>(bytes);
                for (var i = 0; i < singles.Length; i++)
                {
                    if (!(float.IsFinite(singles[i]) && singles[i] >= least))
                    {
                        return Text(singles[i], i, type == SafeTensors.Complex64 ? 8 : 4, 4);
                    }
                }
                return null;
            case SafeTensors.Float64:
                var doubles = MemoryMarshal.Cast<byte, double>(bytes);
                for (var i = 0; i < doubles.Length; i++)
                {
                    if (!(double.IsFinite(doubles[i]) && doubles[i] >= least))
                    {
                        return Text(doubles[i], i, 8, 8);
                    }
                }
                return null;
            case SafeTensors.Float16 or SafeTensors.BFloat16:
                var words = MemoryMarshal.Cast<byte, ushort>(bytes);
                for (var i = 0; i < words.Length; i++)
                {
                    var value = type == SafeTensors.Float16
                        ? (float)BitConverter.UInt16BitsToHalf(words[i])
                        : new BFloat16(words[i]);
                    if (!(float.IsFinite(value) && value >= least))
                    {
                        return Text(value, i, 2, 2);
                    }
                }
                return null;
            default:
                return null;
        }

        string Text(double value, int index, int elementBytes, int partBytes) => string.Create(
            CultureInfo.InvariantCulture,
            $"is {value} at element {(offset + (long)index * partBytes) / elementBytes}, expected finite numbers{(least == 0 ? " >= 0" : "")}");
    }
}
