using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;

namespace Adadelta.Training;

/// <summary>A named array of numbers.</summary>
/// <param name="Name">Its name, e.g. <c>conv1.weight</c>.</param>
/// <param name="Type">The format's name of its element type: <c>F32</c>, <c>F64</c>, <c>F16</c>, <c>BF16</c>, <c>C64</c> or <c>I64</c>.</param>
/// <param name="Shape">Extents, outermost first; empty for a scalar.</param>
/// <param name="Bytes">Elements in row-major order and the machine's byte order.</param>
public sealed record SafeTensor(string Name, string Type, long[] Shape, byte[] Bytes)
{
    /// <summary>Makes a float32 array.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="shape">Extents, outermost first; empty for a scalar.</param>
    /// <param name="data">Elements in row-major order, as many as the product of the extents.</param>
    public SafeTensor(string name, long[] shape, float[] data)
        : this(name, SafeTensors.Float32, shape, MemoryMarshal.AsBytes(data.AsSpan()).ToArray())
    {
    }

    /// <summary>Makes a float64 array.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="shape">Extents, outermost first; empty for a scalar.</param>
    /// <param name="data">Elements in row-major order, as many as the product of the extents.</param>
    /// <returns>The array.</returns>
    public static SafeTensor FromDoubles(string name, long[] shape, ReadOnlySpan<double> data) =>
        new(name, SafeTensors.Float64, shape, MemoryMarshal.AsBytes(data).ToArray());

    /// <summary>A copy of the elements of a float32 array.</summary>
    /// <exception cref="InvalidOperationException">It has another type.</exception>
    public float[] Data => Type == SafeTensors.Float32
        ? MemoryMarshal.Cast<byte, float>(Bytes).ToArray()
        : throw new InvalidOperationException($"tensor '{Name}' has dtype {Type}, expected {SafeTensors.Float32}");
}

/// <summary>What a safetensors file holds.</summary>
/// <param name="Tensors">The tensors, in the order of their data.</param>
/// <param name="Metadata">The file's <c>__metadata__</c>; empty when it has none.</param>
public sealed record SafeTensorsFile(IReadOnlyList<SafeTensor> Tensors, IReadOnlyDictionary<string, string> Metadata);

/// <summary>
/// Reads and writes safetensors files, which PyTorch, NumPy and others open: the length of a JSON header as a little-endian
/// 64-bit number, the header, then the data without gaps, little-endian.
/// </summary>
public static class SafeTensors
{
    // The limit of the format's own implementation.
    private const long MaxHeaderBytes = 100_000_000;

    private const string MetadataKey = "__metadata__";
    private const string ChecksumKey = "adadelta.checksum";

    // Of a value that a message shows.
    private const int MostShown = 80;

    internal const string Float32 = "F32";
    internal const string Float64 = "F64";
    internal const string Float16 = "F16";
    internal const string BFloat16 = "BF16";
    internal const string Complex64 = "C64";
    internal const string Int64 = "I64";

    private static readonly Dictionary<string, int> s_sizes = new(StringComparer.Ordinal)
    {
        [Float32] = 4,
        [Float64] = 8,
        [Float16] = 2,
        [BFloat16] = 2,
        [Complex64] = 8,
        [Int64] = 8,
    };

    /// <summary>Writes a file, whole or not at all (<see cref="AtomicFile"/>). Its data begin at a multiple of 8 bytes.</summary>
    /// <remarks>
    /// The metadata take a checksum of tensors and metadata under <c>adadelta.checksum</c>, which <see cref="Read"/> verifies. A tool
    /// that changes anything and writes the file anew must leave it out.
    /// </remarks>
    /// <param name="path">The file.</param>
    /// <param name="tensors">The tensors; their data are written in this order.</param>
    /// <param name="metadata">Texts to keep with them, or null.</param>
    /// <exception cref="ArgumentException">A name is used twice or reserved, a type is unknown, or data do not fit a shape.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written.</exception>
    public static void Write(string path, IReadOnlyList<SafeTensor> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        WriteSources(path, [.. tensors.Select(TensorSource.Of)], metadata);
    }

    /// <param name="path">The file.</param>
    /// <param name="tensors">The tensors, which are read twice: first for the checksum, which stands before them.</param>
    /// <param name="metadata">Texts to keep with them, or null.</param>
    /// <param name="pieceBytes">Bytes that are read at a time, a multiple of 8.</param>
    /// <exception cref="UnloadableException">A tensor has values that its source excludes; nothing is written.</exception>
    internal static void WriteSources(
        string path, IReadOnlyList<TensorSource> tensors, IReadOnlyDictionary<string, string>? metadata,
        int pieceBytes = TensorSource.PieceBytes)
    {
        Dictionary<string, string> texts = new(metadata ?? new Dictionary<string, string>(), StringComparer.Ordinal)
        {
            [ChecksumKey] = new('0', Checksum.Digits),
        };
        // Faults of the arguments come before anything is read.
        var length = Header(tensors, texts).Length;
        var most = (int)Math.Min(pieceBytes, tensors.Max(tensor => (long?)tensor.ByteCount) ?? 0);
        var buffer = ArrayPool<byte>.Shared.Rent(most);
        try
        {
            var checksum = ContentChecksum.Begin(texts);
            foreach (var tensor in tensors)
            {
                checksum.AddTensor(tensor.Name, tensor.Type, tensor.Shape);
                ForEachPiece(tensor, buffer.AsSpan(0, most), checksum.AddData, checkValues: true);
            }
            texts[ChecksumKey] = checksum.ToText();
            var header = Header(tensors, texts);
            AtomicFile.Write(path, stream =>
            {
                Span<byte> lengthBytes = stackalloc byte[8];
                BinaryPrimitives.WriteInt64LittleEndian(lengthBytes, header.Length);
                stream.Write(lengthBytes);
                stream.Write(header);
                foreach (var tensor in tensors)
                {
                    ForEachPiece(tensor, buffer.AsSpan(0, most), stream.Write, checkValues: false);
                }
            });
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private delegate void Taker(ReadOnlySpan<byte> bytes);

    // The pieces in the file's byte order.
    private static void ForEachPiece(TensorSource tensor, Span<byte> buffer, Taker take, bool checkValues)
    {
        for (long offset = 0; offset < tensor.ByteCount; offset += buffer.Length)
        {
            var piece = buffer[..(int)Math.Min(buffer.Length, tensor.ByteCount - offset)];
            tensor.CopyTo(offset, piece);
            if (checkValues && TensorValueCheck.Fault(tensor.Type, tensor.Values, piece, offset) is { } fault)
            {
                throw new UnloadableException($"not saved, since it could not be loaded: '{tensor.Name}' {fault}");
            }
            TurnLittleEndian(tensor.Type, piece);
            take(piece);
        }
    }

    /// <summary>Reads a file and checks all of it, its checksum too where it has one.</summary>
    /// <param name="path">The file.</param>
    /// <returns>Tensors and metadata, without the checksum.</returns>
    /// <exception cref="InvalidDataException">
    /// The file is damaged, of another kind, or holds an element type not listed at <see cref="SafeTensor"/> or a tensor larger than
    /// an array can be; the message names file, tensor, value and bound.
    /// </exception>
    /// <exception cref="IOException">The file is missing or cannot be read.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for a tensor; the message names it and its size.</exception>
    public static SafeTensorsFile Read(string path)
    {
        var file = ReadStored(path, Array.MaxLength, Array.MaxLength);
        return new([.. file.Tensors.Select(tensor => new SafeTensor(tensor.Name, tensor.Type, tensor.Shape, tensor.Bytes))], file.Metadata);
    }

    /// <summary>Reads a file's metadata alone, whatever the size of its tensors. The checksum, which is of them too, is not verified.</summary>
    /// <param name="path">The file.</param>
    /// <returns>The metadata, without the checksum.</returns>
    /// <exception cref="InvalidDataException">The header is damaged, or the file is of another kind.</exception>
    /// <exception cref="IOException">The file is missing or cannot be read.</exception>
    public static IReadOnlyDictionary<string, string> ReadMetadata(string path)
    {
        using var stream = FileKind.Open(path);
        var (_, metadata) = ReadHeader(path, stream, long.MaxValue);
        metadata.Remove(ChecksumKey);
        return metadata;
    }

    /// <summary>As <see cref="Read"/>, of tensors of any size, in pieces.</summary>
    /// <param name="path">The file.</param>
    /// <param name="pieceBytes">Bytes of a piece, a multiple of 8.</param>
    /// <param name="mostBytes">Bytes that a tensor may have.</param>
    internal static StoredFile ReadStored(string path, int pieceBytes = StoredTensor.PieceBytes, long mostBytes = long.MaxValue)
    {
        using var stream = FileKind.Open(path);
        var (entries, metadata) = ReadHeader(path, stream, mostBytes);
        metadata.Remove(ChecksumKey, out var expected);
        var checksum = ContentChecksum.Begin(metadata);
        List<StoredTensor> tensors = [];
        foreach (var entry in entries)
        {
            checksum.AddTensor(entry.Name, entry.Type, entry.Shape);
            List<byte[]> pieces = [];
            for (var left = entry.End - entry.Begin; left > 0; left -= pieces[^1].Length)
            {
                var piece = Memory.Allocate(
                    Math.Min(left, pieceBytes), path, $"tensor '{entry.Name}' of {entry.End - entry.Begin} bytes");
                ReadAll(path, stream, piece);
                checksum.AddData(piece);
                TurnLittleEndian(entry.Type, piece);
                pieces.Add(piece);
            }
            tensors.Add(new(entry.Name, entry.Type, entry.Shape, pieces));
        }
        return expected is null || expected == checksum.ToText()
            ? new(tensors, metadata)
            : throw new InvalidDataException(
                $"{path}: damaged: the checksum of its content is {checksum.ToText()}, expected {expected}, "
                + $"the {ChecksumKey} in its metadata");
    }

    private static (List<Entry> Entries, Dictionary<string, string> Metadata) ReadHeader(string path, FileStream stream, long mostBytes)
    {
        Span<byte> length = stackalloc byte[8];
        if (stream.Length < length.Length)
        {
            throw NotSafeTensors(path, stream, $"{stream.Length} bytes, expected at least {length.Length}");
        }
        stream.ReadExactly(length);
        var headerBytes = BinaryPrimitives.ReadUInt64LittleEndian(length);
        var most = Math.Min(MaxHeaderBytes, stream.Length - length.Length);
        if (headerBytes > (ulong)most)
        {
            throw NotSafeTensors(path, stream, $"header of {headerBytes} bytes, expected at most {most}"
                + (most < MaxHeaderBytes ? ", the rest of the file" : ""));
        }
        var header = Memory.Allocate((long)headerBytes, path, "the header");
        ReadAll(path, stream, header);
        // The format asks for '{' as the first byte, so that headers are told apart from text at once.
        if (header is not [(byte)'{', ..])
        {
            throw NotSafeTensors(path, stream, "the header does not begin with '{'");
        }
        return Parse(path, header, stream.Length - stream.Position, mostBytes);
    }

    private static InvalidDataException NotSafeTensors(string path, FileStream stream, string otherwise) => new(
        FileKind.Of(stream) is { } kind and not FileKind.SafeTensors
            ? $"{path}: {kind}, expected a safetensors file"
            : FileKind.IsText(stream) ? $"{path}: a text file, expected a safetensors file"
            : $"{path}: {otherwise}");

    // The file's length has been looked at before, but another process may cut it meanwhile.
    private static void ReadAll(string path, FileStream stream, byte[] bytes)
    {
        var got = stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
        if (got < bytes.Length)
        {
            throw new InvalidDataException($"{path}: the file is cut off: {got} of {bytes.Length} bytes");
        }
    }

    /// <summary>
    /// A checksum of what a file says, so that it holds however the header is written: the metadata by their keys, then name, type,
    /// shape and data of each tensor, in the order of the data.
    /// </summary>
    private sealed class ContentChecksum
    {
        private readonly Checksum _checksum = new();

        public static ContentChecksum Begin(IReadOnlyDictionary<string, string> metadata)
        {
            var content = new ContentChecksum();
            foreach (var (key, value) in metadata.Where(text => text.Key != ChecksumKey).OrderBy(text => text.Key, StringComparer.Ordinal))
            {
                content.AddText(key);
                content.AddText(value);
            }
            return content;
        }

        public void AddTensor(string name, string type, long[] shape)
        {
            AddText(name);
            AddText(type);
            AddText(string.Join(',', shape));
        }

        public void AddData(ReadOnlySpan<byte> bytes) => _checksum.Add(bytes);

        public string ToText() => _checksum.ToText();

        private void AddText(string text)
        {
            _checksum.Add(Encoding.UTF8.GetBytes(text));
            _checksum.Add([0]);
        }
    }

    private static byte[] Header(IReadOnlyList<TensorSource> tensors, Dictionary<string, string> metadata)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteStartObject(MetadataKey);
            foreach (var (key, value) in metadata)
            {
                json.WriteString(key, value);
            }
            json.WriteEndObject();
            var names = new HashSet<string>(StringComparer.Ordinal);
            long end = 0;
            foreach (var tensor in tensors)
            {
                if (tensor.Name == MetadataKey || !names.Add(tensor.Name))
                {
                    throw new ArgumentException(
                        $"tensors: the name '{tensor.Name}' is {(tensor.Name == MetadataKey ? "reserved" : "used twice")}",
                        nameof(tensors));
                }
                if (!s_sizes.TryGetValue(tensor.Type, out var size))
                {
                    throw new ArgumentException(
                        $"tensors: '{tensor.Name}' has type {tensor.Type}, expected {Types}", nameof(tensors));
                }
                if (tensor.Shape.Any(long.IsNegative) || Product((ulong)size, tensor.Shape) != (UInt128)tensor.ByteCount)
                {
                    throw new ArgumentException(
                        $"tensors: '{tensor.Name}' has {tensor.ByteCount / size} elements, expected those of shape "
                        + $"[{string.Join(", ", tensor.Shape)}]", nameof(tensors));
                }
                json.WriteStartObject(tensor.Name);
                json.WriteString("dtype", tensor.Type);
                json.WriteStartArray("shape");
                foreach (var extent in tensor.Shape)
                {
                    json.WriteNumberValue(extent);
                }
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(end);
                end += tensor.ByteCount;
                json.WriteNumberValue(end);
                json.WriteEndArray();
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }

        // The format allows spaces after the header, so that the data can be mapped into memory at an aligned address.
        while (buffer.Length % 8 != 0)
        {
            buffer.WriteByte((byte)' ');
        }
        return buffer.ToArray();
    }

    private static string Types => string.Join(", ", s_sizes.Keys);

    /// <summary>A product of extents. Beyond 64 bits, where no file reaches, it stops growing and so never wraps around.</summary>
    private static UInt128 Product(ulong first, long[] shape) => shape.Contains(0)
        ? 0
        : shape.Aggregate((UInt128)first, (product, extent) => product > ulong.MaxValue ? product : product * (ulong)extent);

    // Between the file's byte order and the machine's.
    private static void TurnLittleEndian(string type, Span<byte> bytes)
    {
        if (BitConverter.IsLittleEndian)
        {
            return;
        }
        var size = type == Complex64 ? sizeof(float) : s_sizes[type];
        for (var i = 0; i < bytes.Length; i += size)
        {
            bytes.Slice(i, size).Reverse();
        }
    }

    // A message stays readable whatever the file holds.
    private static string Cut(string text) => text.Length <= MostShown ? text : $"{text.AsSpan(0, MostShown)}...";

    private sealed record Entry(string Name, string Type, long[] Shape, long Begin, long End);

    /// <summary>Reads the header and checks that its tensors fill the data exactly. They come in the order of their data.</summary>
    private static (List<Entry> Entries, Dictionary<string, string> Metadata) Parse(
        string path, byte[] header, long dataBytes, long mostBytes)
    {
        List<Entry> entries = [];
        var metadata = new Dictionary<string, string>(StringComparer.Ordinal);
        var names = new HashSet<string>(StringComparer.Ordinal);
        try
        {
            using var json = JsonDocument.Parse(header, new() { AllowDuplicateProperties = true });
            foreach (var property in json.RootElement.EnumerateObject())
            {
                if (!names.Add(property.Name))
                {
                    throw new InvalidDataException($"{path}: the name '{Cut(property.Name)}' is used twice");
                }
                if (property.Name == MetadataKey)
                {
                    ReadMetadata(path, property.Value, metadata);
                }
                else
                {
                    entries.Add(ReadEntry(path, property.Name, property.Value, dataBytes, mostBytes));
                }
            }
        }
        catch (Exception error) when (error is JsonException or DecoderFallbackException or InvalidOperationException)
        {
            throw new InvalidDataException($"{path}: the header is not valid JSON: {error.Message}", error);
        }
        // Stable, so that empty tensors keep their order.
        entries = [.. entries.OrderBy(entry => entry.Begin).ThenBy(entry => entry.End)];
        long end = 0;
        foreach (var entry in entries)
        {
            if (entry.Begin != end)
            {
                throw new InvalidDataException(
                    $"{path}: data of '{Cut(entry.Name)}' begin at byte {entry.Begin}, expected {end} "
                    + "(tensors must neither overlap nor leave gaps)");
            }
            end = entry.End;
        }
        return end == dataBytes
            ? (entries, metadata)
            : throw new InvalidDataException(
                $"{path}: tensors end at byte {end} of the data, expected {dataBytes}, the end of the file");
    }

    private static void ReadMetadata(string path, JsonElement value, Dictionary<string, string> metadata)
    {
        if (value.ValueKind != JsonValueKind.Object)
        {
            throw new InvalidDataException($"{path}: {MetadataKey} is a JSON {value.ValueKind}, expected an object of strings");
        }
        foreach (var property in value.EnumerateObject())
        {
            if (property.Value.ValueKind != JsonValueKind.String)
            {
                throw new InvalidDataException(
                    $"{path}: {MetadataKey} '{Cut(property.Name)}' is a JSON {property.Value.ValueKind}, expected a string");
            }
            if (!metadata.TryAdd(property.Name, property.Value.GetString()!))
            {
                throw new InvalidDataException($"{path}: {MetadataKey} '{Cut(property.Name)}' is used twice");
            }
        }
    }

    private static Entry ReadEntry(string path, string name, JsonElement value, long dataBytes, long mostBytes)
    {
        if (value.ValueKind != JsonValueKind.Object)
        {
            throw Invalid($"is a JSON {value.ValueKind}, expected an object");
        }
        string? dtype = null;
        long[]? shape = null, offsets = null;
        foreach (var property in value.EnumerateObject())
        {
            var twice = property.Name switch
            {
                "dtype" => Set(ref dtype, property.Value.ToString()),
                "shape" => Set(ref shape, Numbers(property)),
                "data_offsets" => Set(ref offsets, Numbers(property)),
                _ => throw Invalid($"has the unknown field '{Cut(property.Name)}'"),
            };
            if (twice)
            {
                throw Invalid($"has the field '{property.Name}' twice");
            }
        }
        if (dtype is null || shape is null || offsets is null)
        {
            throw Invalid($"has no {(dtype is null ? "dtype" : shape is null ? "shape" : "data_offsets")}");
        }
        if (!s_sizes.TryGetValue(dtype, out var size))
        {
            throw Invalid($"has dtype {Cut(dtype)}, expected {Types}");
        }
        if (offsets is not [var begin, var end] || begin > end || end > dataBytes)
        {
            throw Invalid($"has data_offsets [{Cut(string.Join(", ", offsets))}], "
                + $"expected [begin, end] with begin <= end <= {dataBytes}, the bytes of data");
        }
        var bytes = Product((ulong)size, shape);
        if ((UInt128)(end - begin) != bytes)
        {
            throw Invalid($"has {end - begin} bytes of data, expected {bytes} of shape [{Cut(string.Join(", ", shape))}]");
        }
        return end - begin <= mostBytes
            ? new(name, dtype, shape, begin, end)
            : throw Invalid($"has {bytes} bytes of data, expected at most {mostBytes}");

        InvalidDataException Invalid(string what) => new($"{path}: tensor '{Cut(name)}' {what}");

        static bool Set<T>(ref T? field, T found)
            where T : class
        {
            var twice = field is not null;
            field = found;
            return twice;
        }

        long[] Numbers(JsonProperty property)
        {
            if (property.Value.ValueKind != JsonValueKind.Array)
            {
                throw Invalid($"has {property.Name} {Cut(property.Value.GetRawText())}, expected an array of numbers");
            }
            return [.. property.Value.EnumerateArray().Select(item =>
                item.ValueKind == JsonValueKind.Number && item.TryGetInt64(out var number) && number >= 0
                    ? number
                    : throw Invalid($"has {property.Name} {Cut(property.Value.GetRawText())}, expected whole numbers from 0"))];
        }
    }
}
