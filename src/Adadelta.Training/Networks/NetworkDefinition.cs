using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Adadelta.Native;

namespace Adadelta.Training;

/// <summary>
/// A network as a list of layers, read from JSON and written to it. The format is described in
/// <c>src/Adadelta.Training/Networks/README.md</c>. Immutable.
/// </summary>
/// <remarks>
/// A definition need not know its images: without <see cref="Input"/>, and with <c>"classes"</c> as a layer's output, it fits
/// every data set, and <see cref="For"/> fixes both.
/// </remarks>
public sealed class NetworkDefinition
{
    // A definition of a thousand layers has a tenth of this.
    private const int MostBytes = 1 << 20;

    private const string ClassesKeyword = "classes";
    private const int Classes = -1;
    private const string WholeNumber = "a whole number";

    private static readonly LayerFormat[] s_formats =
    [
        new("conv2d", LayerKind.Conv2d, "out_channels", "kernel", "stride", "padding", "dilation", "bias"),
        new("maxpool2d", LayerKind.MaxPool2d, "kernel", "stride", "padding"),
        new("avgpool2d", LayerKind.AvgPool2d, "kernel", "stride", "padding"),
        new("relu", LayerKind.ReLU),
        new("flatten", LayerKind.Flatten),
        new("linear", LayerKind.Linear, "out_features", "bias"),
        new("dropout", LayerKind.Dropout, "probability"),
    ];

    private static readonly Lazy<NetworkDefinition> s_reference = new(ReadReference);

    private readonly IReadOnlyList<Layer> _layers;

    private NetworkDefinition(string source, ImageShape? input, IReadOnlyList<Layer> layers) =>
        (Source, Input, _layers) = (source, input, layers);

    /// <summary>
    /// The network of the reference run: two convolutions of 5x5 (32 and 64 channels), each with max-pooling and ReLU, and two
    /// linear layers (512 and the number of classes). Fits any image size that leaves something after the second pooling.
    /// </summary>
    public static NetworkDefinition Reference => s_reference.Value;

    /// <summary>Where the definition came from, for messages: a file's path, or <c>reference</c>.</summary>
    public string Source { get; }

    /// <summary>The shape of one image, or <see langword="null"/> when the definition takes any.</summary>
    public ImageShape? Input { get; }

    /// <summary>Number of layers.</summary>
    public int LayerCount => _layers.Count;

    /// <summary>Reads a definition from a file.</summary>
    /// <param name="path">A JSON file in UTF-8, of at most 1 MiB.</param>
    /// <exception cref="InvalidDataException">
    /// Not a network; the message names layer, property, value and bound, or the kind of a file that is another.
    /// </exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static NetworkDefinition Load(string path)
    {
        using FileStream stream = FileKind.Open(path);
        if (FileKind.Of(stream) is { } kind and not FileKind.Json)
        {
            throw new InvalidDataException($"{path}: {kind}, expected a network as JSON text");
        }

        if (stream.Length > MostBytes)
        {
            throw new InvalidDataException($"{path}: {stream.Length} bytes, expected at most {MostBytes} of a network");
        }

        stream.Position = 0;
        using StreamReader text = new(stream, new UTF8Encoding(false, throwOnInvalidBytes: true));
        try
        {
            return Parse(text.ReadToEnd(), path);
        }
        catch (DecoderFallbackException e)
        {
            throw new InvalidDataException($"{path}: not UTF-8 text: {e.Message}", e);
        }
    }

    /// <summary>Reads a definition from text.</summary>
    /// <param name="json">The JSON text.</param>
    /// <param name="source">Name of the text, for messages.</param>
    /// <exception cref="InvalidDataException">Not a network; the message names layer, property, value and bound.</exception>
    public static NetworkDefinition Parse(string json, string source)
    {
        ArgumentNullException.ThrowIfNull(json);
        ArgumentNullException.ThrowIfNull(source);
        JsonDocumentOptions options = new()
        {
            AllowTrailingCommas = true,
            CommentHandling = JsonCommentHandling.Skip,
            AllowDuplicateProperties = false,
        };
        try
        {
            using var document = JsonDocument.Parse(json, options);
            return Read(document.RootElement, source);
        }
        catch (JsonException e)
        {
            string place = e.LineNumber is { } line ? $"line {line + 1}, byte {e.BytePositionInLine + 1}: " : "";
            throw new InvalidDataException($"{source}: {place}not valid JSON: {WithoutPosition(e.Message)}", e);
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException)
        {
            // Half of a pair of surrogates, as a character or escaped.
            throw new InvalidDataException($"{source}: not valid JSON: {e.Message}", e);
        }
    }

    /// <summary>The same network with its input shape and number of classes fixed.</summary>
    /// <param name="input">Shape of one image.</param>
    /// <param name="classes">Number of classes, put where a layer's output says <c>"classes"</c>.</param>
    /// <exception cref="InvalidDataException">The definition asks for images of another shape.</exception>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="classes"/> is below 1.</exception>
    public NetworkDefinition For(ImageShape input, int classes)
    {
        Require.That(classes >= 1, nameof(classes), classes, "classes >= 1");
        if (Input is { } own && own != input)
        {
            throw new InvalidDataException($"{Source}: input: {Text(own)}, but the images are {Text(input)}");
        }

        return new(Source, input, [.. _layers.Select(layer => layer.Out == Classes ? layer with { Out = classes } : layer)]);
    }

    /// <summary>Plans the network.</summary>
    /// <param name="context">Device and threads.</param>
    /// <param name="seed">Of the initial weights and of dropout.</param>
    /// <param name="maxBatchSize">Largest number of images in one call, at least 1.</param>
    /// <exception cref="InvalidDataException">
    /// The layers do not fit, or are too large; the message names the layer and the shapes.
    /// </exception>
    /// <exception cref="OutOfMemoryException">There is no memory for the network.</exception>
    /// <exception cref="InvalidOperationException">Input shape or classes are open: see <see cref="For"/>.</exception>
    public Network Build(ComputeContext context, ulong seed = 0, int maxBatchSize = 64)
    {
        if (Input is not { } input || _layers.Any(layer => layer.Out == Classes))
        {
            throw new InvalidOperationException($"{Source}: input shape or number of classes is open, call {nameof(For)} first");
        }

        NetworkBuilder builder = new(input.Channels, input.Height, input.Width);
        try
        {
            foreach (Layer layer in _layers)
            {
                _ = layer.Format.Kind switch
                {
                    LayerKind.Conv2d => builder.Conv2d(
                        layer.Out, layer.Kernel, layer.Stride, layer.Padding, layer.Dilation, layer.Bias ?? true, layer.Name),
                    LayerKind.MaxPool2d => builder.MaxPool2d(layer.Kernel, layer.Stride, layer.Padding, layer.Name),
                    LayerKind.AvgPool2d => builder.AvgPool2d(layer.Kernel, layer.Stride, layer.Padding, layer.Name),
                    LayerKind.ReLU => builder.ReLU(layer.Name),
                    LayerKind.Flatten => builder.Flatten(layer.Name),
                    LayerKind.Linear => builder.Linear(layer.Out, layer.Bias ?? true, layer.Name),
                    LayerKind.Dropout => builder.Dropout(layer.Probability ?? 0.5f, layer.Name),
                    _ => throw new NotSupportedException($"{layer.Format.Kind} has no builder call"),
                };
            }

            return builder.Build(context, seed, maxBatchSize);
        }
        catch (Exception e) when (e is ArgumentException or OverflowException)
        {
            throw new InvalidDataException($"{Source}: {e.Message}", e);
        }
        catch (OutOfMemoryException e)
        {
            throw new InsufficientMemoryException(
                $"{Source}: no memory for a network of {LayerCount} layers at a batch of {maxBatchSize}: {e.Message}", e);
        }
    }

    /// <summary>The definition as JSON text, which <see cref="Parse"/> reads back.</summary>
    public string ToJson()
    {
        using MemoryStream stream = new();
        // The relaxed encoder writes names as they are; the text is never put into HTML.
        JsonWriterOptions options = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
        using (Utf8JsonWriter json = new(stream, options))
        {
            Write(json);
        }

        return Encoding.UTF8.GetString(stream.ToArray());
    }

    /// <summary>Writes the definition as one JSON object.</summary>
    /// <param name="json">Writer that stands where a value may.</param>
    public void Write(Utf8JsonWriter json)
    {
        ArgumentNullException.ThrowIfNull(json);
        json.WriteStartObject();
        if (Input is { } input)
        {
            json.WriteStartArray("input");
            json.WriteNumberValue(input.Channels);
            json.WriteNumberValue(input.Height);
            json.WriteNumberValue(input.Width);
            json.WriteEndArray();
        }

        json.WriteStartArray("layers");
        foreach (Layer layer in _layers)
        {
            layer.Write(json);
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static NetworkDefinition ReadReference()
    {
        using Stream stream = typeof(NetworkDefinition).Assembly.GetManifestResourceStream("reference.json")
            ?? throw new InvalidOperationException("resource reference.json is missing from the assembly");
        using StreamReader reader = new(stream);
        return Parse(reader.ReadToEnd(), "reference");
    }

    private static NetworkDefinition Read(JsonElement root, string source)
    {
        if (root.ValueKind != JsonValueKind.Object)
        {
            throw new InvalidDataException($"{source}: {Show(root)}, expected an object with the property layers");
        }

        Properties file = new(source, root, ["input", "layers"]);
        ImageShape? input = file.Find("input") is { } shape ? ReadInput(file, shape) : null;
        JsonElement list = file.Find("layers") ?? throw file.Missing("layers", "an array of layers");
        if (list.ValueKind != JsonValueKind.Array || list.GetArrayLength() == 0)
        {
            throw file.Bad("layers", list, "an array of at least one layer");
        }

        return new(source, input, [.. list.EnumerateArray().Select((layer, index) => ReadLayer($"{source}: layers[{index}]", layer))]);
    }

    private static ImageShape ReadInput(Properties file, JsonElement value)
    {
        const string Expected = "[channels, height, width], whole numbers >= 1";
        if (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() != 3)
        {
            throw file.Bad("input", value, Expected);
        }

        int[] extents = [.. value.EnumerateArray().Select(extent => Integer(extent) ?? 0)];
        return extents.Min() >= 1 ? new(extents[0], extents[1], extents[2]) : throw file.Bad("input", value, Expected);
    }

    private static Layer ReadLayer(string place, JsonElement element)
    {
        if (element.ValueKind != JsonValueKind.Object)
        {
            throw new InvalidDataException($"{place}: {Show(element)}, expected an object with the property type");
        }

        string types = $"one of {string.Join(", ", s_formats.Select(known => known.Type))}";
        if (!element.TryGetProperty("type", out JsonElement type))
        {
            throw new InvalidDataException($"{place}: type is missing, expected {types}");
        }

        string? asked = type.ValueKind == JsonValueKind.String ? type.GetString() : null;
        LayerFormat format = Array.Find(s_formats, known => known.Type.Equals(asked, StringComparison.OrdinalIgnoreCase))
            ?? throw new InvalidDataException($"{place}: type: {Show(type)}, expected {types}");
        bool named = element.TryGetProperty("name", out JsonElement name) && name.ValueKind == JsonValueKind.String;
        string label = named ? $"{format.Type} '{name.GetString()}'" : format.Type;
        Properties layer = new($"{place} ({label})", element, ["type", "name", .. format.Properties]);
        return new(format, layer.Name())
        {
            Out = format.Output is { } output ? layer.Output(output) : 0,
            Kernel = format.Properties.Contains("kernel") ? layer.Kernel() : default,
            Stride = layer.Size("stride", 1),
            Padding = layer.Size("padding", 0),
            Dilation = layer.Size("dilation", 1),
            Bias = layer.Flag("bias"),
            Probability = layer.Probability("probability"),
        };
    }

    private static int? Integer(JsonElement value) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) ? number : null;

    private static string Text(ImageShape shape) => $"{shape.Channels}x{shape.Height}x{shape.Width}";

    // A value as it stands in the file, cut so that a message stays a line.
    private static string Show(JsonElement value)
    {
        string text = value.ValueKind is JsonValueKind.Object
            ? "an object"
            : string.Join(' ', value.GetRawText().Split(default(char[]), StringSplitOptions.RemoveEmptyEntries));
        return text.Length <= 60 ? text : $"{text.AsSpan(0, 57)}...";
    }

    // System.Text.Json counts lines from 0 at the end of its message; ours stands at the front, from 1.
    private static string WithoutPosition(string message)
    {
        int end = message.IndexOf(" LineNumber:", StringComparison.Ordinal);
        return end < 0 ? message : message[..end];
    }

    private sealed record LayerFormat(string Type, LayerKind Kind, params string[] Properties)
    {
        // The property that says how wide the layer's output is.
        public string? Output { get; } = Array.Find(Properties, name => name.StartsWith("out_", StringComparison.Ordinal));
    }

    private sealed record Layer(LayerFormat Format, string? Name)
    {
        // Channels or features; Classes where the data set decides, 0 where the layer has no such property.
        public int Out { get; init; }

        public Size2 Kernel { get; init; }

        public Size2? Stride { get; init; }

        public Size2? Padding { get; init; }

        public Size2? Dilation { get; init; }

        public bool? Bias { get; init; }

        public float? Probability { get; init; }

        public void Write(Utf8JsonWriter json)
        {
            json.WriteStartObject();
            json.WriteString("type", Format.Type);
            if (Name is not null)
            {
                json.WriteString("name", Name);
            }

            if (Format.Output is { } output)
            {
                if (Out == Classes)
                {
                    json.WriteString(output, ClassesKeyword);
                }
                else
                {
                    json.WriteNumber(output, Out);
                }
            }

            WriteSize(json, "kernel", Kernel == default ? null : Kernel);
            WriteSize(json, "stride", Stride);
            WriteSize(json, "padding", Padding);
            WriteSize(json, "dilation", Dilation);
            if (Bias is { } bias)
            {
                json.WriteBoolean("bias", bias);
            }

            if (Probability is { } probability)
            {
                json.WriteNumber("probability", probability);
            }

            json.WriteEndObject();
        }

        private static void WriteSize(Utf8JsonWriter json, string name, Size2? size)
        {
            if (size is not { } value)
            {
                return;
            }

            if (value.Height == value.Width)
            {
                json.WriteNumber(name, value.Height);
                return;
            }

            json.WriteStartArray(name);
            json.WriteNumberValue(value.Height);
            json.WriteNumberValue(value.Width);
            json.WriteEndArray();
        }
    }

    // One object of the file with the properties it may have; the source of every message about them.
    private sealed class Properties
    {
        private readonly string _place;
        private readonly JsonElement _element;

        public Properties(string place, JsonElement element, string[] known)
        {
            (_place, _element) = (place, element);
            foreach (JsonProperty property in element.EnumerateObject())
            {
                if (!known.Contains(property.Name))
                {
                    throw new InvalidDataException(
                        $"{place}: unknown property '{property.Name}', expected one of {string.Join(", ", known)}");
                }
            }
        }

        public JsonElement? Find(string name) => _element.TryGetProperty(name, out JsonElement value) ? value : null;

        public InvalidDataException Bad(string name, JsonElement value, string expected) =>
            new($"{_place}: {name}: {Show(value)}, expected {expected}");

        public InvalidDataException Missing(string name, string expected) =>
            new($"{_place}: {name} is missing, expected {expected}");

        public string? Name() => Find("name") switch
        {
            null => null,
            { ValueKind: JsonValueKind.String } value => value.GetString(),
            { } value => throw Bad("name", value, "a text of 1 to 63 letters, digits, _, - or ."),
        };

        public int Output(string name)
        {
            const string Expected = $"{WholeNumber} >= 1 or \"{ClassesKeyword}\"";
            JsonElement value = Find(name) ?? throw Missing(name, Expected);
            if (value.ValueKind == JsonValueKind.String && value.ValueEquals(ClassesKeyword))
            {
                return Classes;
            }

            return Integer(value) is { } number and >= 1 ? number : throw Bad(name, value, Expected);
        }

        public Size2 Kernel() => Size("kernel", 1) ?? throw Missing("kernel", SizeBound(1));

        public Size2? Size(string name, int least)
        {
            if (Find(name) is not { } value)
            {
                return null;
            }

            JsonElement[] parts = value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray()] : [value, value];
            return parts.Length == 2 && Integer(parts[0]) is { } height && Integer(parts[1]) is { } width
                && height >= least && width >= least
                ? new Size2(height, width)
                : throw Bad(name, value, SizeBound(least));
        }

        public bool? Flag(string name) => Find(name) switch
        {
            null => null,
            { ValueKind: JsonValueKind.True } => true,
            { ValueKind: JsonValueKind.False } => false,
            { } value => throw Bad(name, value, "true or false"),
        };

        public float? Probability(string name)
        {
            if (Find(name) is not { } value)
            {
                return null;
            }

            // The bound holds for the float that the layer gets: 0.99999999 would round to 1.
            return value.ValueKind == JsonValueKind.Number && value.TryGetSingle(out float number) && number is >= 0 and < 1
                ? number
                : throw Bad(name, value, "0 <= probability < 1");
        }

        private static string SizeBound(int least) => $"{WholeNumber} >= {least}, or [height, width] of such";
    }
}
