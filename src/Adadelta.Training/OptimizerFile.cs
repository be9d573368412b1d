using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using Adadelta.Native;

namespace Adadelta.Training;

/// <summary>
/// Keeps an optimizer's state in a safetensors file, in the structure of <c>torch.optim.Adadelta.state_dict()</c>, alone or
/// beside a network's parameters (<see cref="CheckpointFile"/>).
/// </summary>
/// <remarks>
/// <para>
/// <c>state[i]["step"]</c>, <c>["square_avg"]</c> and <c>["acc_delta"]</c> are the tensors <c>optimizer.state.{i}.step</c>,
/// <c>.square_avg</c> and <c>.acc_delta</c>; what only this library keeps are <c>.master</c> and <c>.average</c>.
/// <c>param_groups</c> is JSON under the metadata key <c>optimizer.param_groups</c>, with PyTorch's keys (<c>lr</c>, <c>rho</c>,
/// <c>eps</c>, <c>weight_decay</c>, <c>foreach</c>, <c>maximize</c>, <c>capturable</c>, <c>differentiable</c>, <c>params</c>,
/// <c>param_names</c>) and this library's beside them. <c>optimizer.version</c> is the version of this layout, 1.
/// </para>
/// <para>
/// <c>lr</c> is the number that the next step takes, also where it stands in memory
/// (<see cref="AdadeltaOptimizer.SetLearningRateTensor"/>): loading writes it there again.
/// </para>
/// </remarks>
public static class OptimizerFile
{
    internal const string Prefix = "optimizer.";

    private const string Version = "1";
    private const string VersionKey = Prefix + "version";
    private const string GroupsKey = Prefix + "param_groups";
    private const string PassKey = Prefix + "pass";

    // Whole numbers beyond this are not all float32 numbers.
    private const long MostFloatStep = 1 << 24;

    /// <summary>Writes the state, whole or not at all.</summary>
    /// <param name="optimizer">The optimizer.</param>
    /// <param name="path">The file.</param>
    /// <param name="metadata">Texts to keep with it, or null; keys that begin with <c>optimizer.</c> are reserved.</param>
    /// <exception cref="InvalidOperationException">
    /// A learning rate in memory or a number of the state is negative or not finite, so that the file could not be loaded.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The optimizer or its context is disposed.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written.</exception>
    public static void Save(AdadeltaOptimizer optimizer, string path, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        Dictionary<string, string> texts = new(metadata ?? new Dictionary<string, string>(), StringComparer.Ordinal);
        SafeTensors.WriteSources(path, [.. Tensors(optimizer, texts)], texts);
    }

    /// <summary>
    /// Sets state and options from a file, as PyTorch's <c>load_state_dict</c> does: groups and parameters are matched by their
    /// order, options come from the file, and those that older versions did not know keep their defaults. Where anything does
    /// not fit, nothing is changed.
    /// </summary>
    /// <param name="optimizer">The optimizer, with as many groups and parameters as the file's.</param>
    /// <param name="path">The file.</param>
    /// <returns>The file's metadata.</returns>
    /// <exception cref="InvalidDataException">
    /// The file is damaged or of a later version, groups, parameters, shapes, types or options differ, or numbers are out of bounds:
    /// <c>square_avg</c> and <c>acc_delta</c> are finite and at least 0, the rest of the state is finite.
    /// </exception>
    /// <exception cref="IOException">The file is missing or cannot be read.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer or a tensor that it was made with is disposed.</exception>
    public static IReadOnlyDictionary<string, string> Load(AdadeltaOptimizer optimizer, string path)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        var file = SafeTensors.ReadStored(path);
        Prepare(optimizer, path, file.Tensors, file.Metadata)();
        return file.Metadata;
    }

    /// <summary>The state's tensors; the rest goes into the metadata.</summary>
    internal static IEnumerable<TensorSource> Tensors(AdadeltaOptimizer optimizer, Dictionary<string, string> metadata)
    {
        metadata["format"] = "pt";
        metadata[VersionKey] = Version;
        metadata[GroupsKey] = Groups(optimizer).ToJsonString();
        var pass = optimizer.PassOptions;
        metadata[PassKey] = new JsonObject
        {
            ["zero_gradients"] = pass.ZeroGradients,
            ["gradient_scale"] = pass.GradientScale,
            ["clip_norm"] = pass.ClipNorm,
            ["skip_nonfinite"] = pass.SkipNonfinite,
        }.ToJsonString();
        return Enumerable.Range(0, optimizer.ParameterCount).SelectMany(index => StateTensors(optimizer, index));
    }

    /// <summary>Checks a file's state against an optimizer.</summary>
    /// <returns>What sets the state and the options.</returns>
    /// <exception cref="InvalidDataException">They do not fit.</exception>
    internal static Action Prepare(
        AdadeltaOptimizer optimizer, string path, IEnumerable<StoredTensor> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        var version = metadata.GetValueOrDefault(VersionKey, Version);
        if (version != Version)
        {
            throw new InvalidDataException($"{path}: {VersionKey} is {version}, expected {Version}: this library is older");
        }
        if (!metadata.TryGetValue(GroupsKey, out var text))
        {
            throw new InvalidDataException($"{path}: no {GroupsKey} in the metadata, expected an optimizer's state");
        }
        List<string> faults = [];
        var options = ReadGroups(optimizer, path, text, faults);
        var pass = ReadPass(path, metadata.GetValueOrDefault(PassKey, "{}"), faults);
        var given = tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        List<Action> writes = [];
        for (var index = 0; faults.Count == 0 && index < optimizer.ParameterCount; index++)
        {
            ReadState(optimizer, index, options, given, writes, faults);
        }
        if (faults.Count == 0)
        {
            faults.AddRange(given.Keys.Select(name => $"'{name}' is not part of the optimizer's state"));
        }
        if (faults.Count > 0)
        {
            throw new InvalidDataException($"{path}: does not fit the optimizer: {string.Join("; ", faults)}");
        }
        return () =>
        {
            for (var group = 0; group < options.Count; group++)
            {
                optimizer.SetOptions(options[group], group);
                optimizer.SetLearningRate(options[group].LearningRate, group);
            }
            optimizer.PassOptions = pass;
            writes.ForEach(write => write());
            optimizer.ClearRecordedSteps();
        };
    }

    private static JsonArray Groups(AdadeltaOptimizer optimizer)
    {
        JsonArray groups = [];
        var index = 0;
        for (var group = 0; group < optimizer.GroupCount; group++)
        {
            var options = optimizer.GetOptions(group);
            var parameters = optimizer.GetParameters(group);
            var first = index;
            index += parameters.Count;
            groups.Add((JsonNode)new JsonObject
            {
                ["lr"] = LearningRate(optimizer, group),
                ["rho"] = options.Rho,
                ["eps"] = options.Eps,
                ["weight_decay"] = options.WeightDecay,
                ["foreach"] = options.Foreach,
                ["maximize"] = options.Maximize,
                ["capturable"] = options.Capturable,
                ["differentiable"] = options.Differentiable,
                ["zero_eps"] = options.ZeroEps switch { ZeroEps.Refuse => "refuse", ZeroEps.Keep => "keep", _ => "nan" },
                ["master_weights"] = options.MasterWeights,
                ["decoupled_weight_decay"] = options.DecoupledWeightDecay,
                ["clip_value"] = options.ClipValue,
                ["average_decay"] = options.AverageDecay,
                ["params"] = new JsonArray([.. Enumerable.Range(first, parameters.Count).Select(i => (JsonNode)i)]),
                ["param_names"] = new JsonArray([.. parameters.Select(parameter => (JsonNode)parameter.Name)]),
            });
        }
        return groups;
    }

    // What a host writes into memory is not checked before; a file without a rate could not be loaded.
    private static double LearningRate(AdadeltaOptimizer optimizer, int group)
    {
        var rate = optimizer.GetLearningRate(group);
        return double.IsFinite(rate) && rate >= 0
            ? rate
            : throw new InvalidOperationException(string.Create(
                CultureInfo.InvariantCulture, $"group {group}: the learning rate in memory is {rate}, expected a finite one >= 0"));
    }

    private static IEnumerable<TensorSource> StateTensors(AdadeltaOptimizer optimizer, int index)
    {
        var step = optimizer.GetStep(index);
        yield return TensorSource.Of(step <= MostFloatStep
            ? new SafeTensor(Key(index, "step"), [], [(float)step])
            : SafeTensor.FromDoubles(Key(index, "step"), [], [step]));
        var state = optimizer.GetState(index);
        yield return Source("square_avg", state.SquareAverage, Read(state.SquareAverage), TensorValues.NotNegative);
        yield return Source("acc_delta", state.AccumulatedDelta, Read(state.AccumulatedDelta), TensorValues.NotNegative);
        using var master = optimizer.GetMasterWeights(index);
        if (master is not null)
        {
            yield return Source("master", master, ReadView(optimizer.GetMasterWeights), TensorValues.Finite);
        }
        using var average = optimizer.GetAverage(index);
        if (average is not null)
        {
            yield return Source("average", average, ReadView(optimizer.GetAverage), TensorValues.Finite);
        }

        TensorSource Source(string what, DeviceTensor tensor, TensorSource.Copier copyTo, TensorValues values) =>
            new(Key(index, what), TypeName(tensor.Type), [.. tensor.Shape], tensor.ByteCount, copyTo, values);

        static TensorSource.Copier Read(DeviceTensor tensor) => (offset, bytes) => tensor.ReadBytes(bytes, offset);

        TensorSource.Copier ReadView(Func<int, DeviceTensor?> get) => (offset, bytes) =>
        {
            using var view = get(index)!;
            view.ReadBytes(bytes, offset);
        };
    }

    private static string Key(int index, string what) =>
        string.Create(CultureInfo.InvariantCulture, $"{Prefix}state.{index}.{what}");

    private static string TypeName(ElementType type) => type switch
    {
        ElementType.Float64 => SafeTensors.Float64,
        ElementType.Float16 => SafeTensors.Float16,
        ElementType.BFloat16 => SafeTensors.BFloat16,
        ElementType.Complex64 => SafeTensors.Complex64,
        _ => SafeTensors.Float32,
    };

    private static (int Group, Parameter Parameter) At(AdadeltaOptimizer optimizer, int index)
    {
        var group = 0;
        for (; index >= optimizer.GetParameters(group).Count; group++)
        {
            index -= optimizer.GetParameters(group).Count;
        }
        return (group, optimizer.GetParameters(group)[index]);
    }

    // ---- Groups ----

    private static List<AdadeltaOptions> ReadGroups(AdadeltaOptimizer optimizer, string path, string text, List<string> faults)
    {
        var groups = ParseJson(path, GroupsKey, text) as JsonArray
            ?? throw new InvalidDataException($"{path}: {GroupsKey} is {text}, expected a JSON array of objects");
        List<AdadeltaOptions> all = [];
        if (groups.Count != optimizer.GroupCount)
        {
            faults.Add($"{groups.Count} parameter groups, expected {optimizer.GroupCount}");
            return all;
        }
        var next = 0;
        for (var i = 0; i < groups.Count; i++)
        {
            var where = $"group {i}";
            var fields = new Fields(groups[i] as JsonObject ?? [], where, faults);
            var expected = optimizer.GetParameters(i).Count;
            var parameters = fields.Take("params") as JsonArray ?? [];
            if (parameters.Count != expected)
            {
                faults.Add($"{where} has {parameters.Count} parameters, expected {expected}");
            }
            else if (!parameters.Select(node => node?.ToJsonString()).SequenceEqual(
                Enumerable.Range(next, expected).Select(index => index.ToString(CultureInfo.InvariantCulture))))
            {
                faults.Add($"{where} has params {parameters.ToJsonString()}, expected {next} to {next + expected - 1} in order");
            }
            next += expected;
            fields.Take("param_names");
            var options = new AdadeltaOptions
            {
                // Without these no version of PyTorch has written a group.
                LearningRate = fields.Number("lr", null),
                Rho = fields.Number("rho", null),
                Eps = fields.Number("eps", null),
                WeightDecay = fields.Number("weight_decay", null),
                // These came later, as PyTorch's own __setstate__ has it.
                Foreach = fields.Take("foreach") is { } node ? Fields.AsFlag(node) ?? fields.Fault<bool?>("foreach", node) : null,
                Maximize = fields.Flag("maximize"),
                Capturable = fields.Flag("capturable"),
                Differentiable = fields.Flag("differentiable"),
                ZeroEps = fields.Choice("zero_eps", ("nan", ZeroEps.NaN), ("refuse", ZeroEps.Refuse), ("keep", ZeroEps.Keep)),
                MasterWeights = fields.Flag("master_weights"),
                DecoupledWeightDecay = fields.Number("decoupled_weight_decay", 0),
                ClipValue = fields.Number("clip_value", 0),
                AverageDecay = fields.Number("average_decay", 0),
            };
            all.Add(options);
            if (faults.Count == 0)
            {
                CheckBounds(optimizer.GetParameters(i), options, where, faults);
            }
        }
        return all;
    }

    // The bounds are the library's own: an optimizer that is thrown away takes them.
    private static void CheckBounds(
        IReadOnlyList<Parameter> parameters, AdadeltaOptions options, string where, List<string> faults)
    {
        foreach (var type in parameters.Select(parameter => parameter.Value.Type).Distinct())
        {
            try
            {
                using var value = DeviceTensor.Zeros(parameters[0].Value.Context, type, 1);
                using var gradient = DeviceTensor.Zeros(parameters[0].Value.Context, type, 1);
                using var trial = new AdadeltaOptimizer([new Parameter("trial", value, gradient)], options);
                trial.LearningRate = options.LearningRate;
            }
            catch (ArgumentException error)
            {
                // The runtime adds the argument's name at the end, which the message begins with.
                faults.Add($"{where}: {error.Message.Replace($" (Parameter '{error.ParamName}')", "", StringComparison.Ordinal)}");
                return;
            }
        }
    }

    private static AdadeltaPassOptions ReadPass(string path, string text, List<string> faults)
    {
        var fields = new Fields(
            ParseJson(path, PassKey, text) as JsonObject
                ?? throw new InvalidDataException($"{path}: {PassKey} is {text}, expected a JSON object"),
            PassKey, faults);
        return new AdadeltaPassOptions
        {
            ZeroGradients = fields.Flag("zero_gradients"),
            GradientScale = fields.Number("gradient_scale", 1, number => double.IsFinite(number) && number > 0),
            ClipNorm = fields.Number("clip_norm", 0, number => double.IsFinite(number) && number >= 0),
            SkipNonfinite = fields.Flag("skip_nonfinite"),
        };
    }

    private static JsonNode? ParseJson(string path, string key, string text)
    {
        try
        {
            return JsonNode.Parse(text, documentOptions: new() { AllowDuplicateProperties = false });
        }
        // Half of a pair of surrogates is no text.
        catch (Exception error) when (error is JsonException or InvalidOperationException or ArgumentException)
        {
            throw new InvalidDataException($"{path}: {key} is not valid JSON: {error.Message}", error);
        }
    }

    /// <summary>The fields of a JSON object; what is wrong with one is noted.</summary>
    private sealed class Fields(JsonObject json, string where, List<string> faults)
    {
        public JsonNode? Take(string name) => json[name];

        public T? Fault<T>(string name, JsonNode? node)
        {
            faults.Add(node is null ? $"{where} has no '{name}'" : $"{where} has '{name}' {node.ToJsonString()}");
            return default;
        }

        public double Number(string name, double? otherwise, Predicate<double>? valid = null)
        {
            var node = json[name];
            if (node is null && otherwise is { } number)
            {
                return number;
            }
            return node is JsonValue value && value.TryGetValue(out double found) && valid?.Invoke(found) != false
                ? found
                : Fault<double>(name, node);
        }

        public bool Flag(string name) => json[name] is { } node && (AsFlag(node) ?? Fault<bool>(name, node));

        public T Choice<T>(string name, params ReadOnlySpan<(string Name, T Value)> choices)
            where T : struct
        {
            var node = json[name];
            foreach (var choice in choices)
            {
                if (node is JsonValue value && value.TryGetValue(out string? found) && found == choice.Name)
                {
                    return choice.Value;
                }
            }
            return node is null ? default : Fault<T>(name, node);
        }

        public static bool? AsFlag(JsonNode node) => node is JsonValue value && value.TryGetValue(out bool flag) ? flag : null;
    }

    // ---- State ----

    private static void ReadState(
        AdadeltaOptimizer optimizer, int index, List<AdadeltaOptions> groups, Dictionary<string, StoredTensor> given,
        List<Action> writes, List<string> faults)
    {
        var (group, found) = At(optimizer, index);
        var (parameter, options) = (found.Value, groups[group]);
        var narrow = parameter.Type is ElementType.Float16 or ElementType.BFloat16;
        var type = narrow ? ElementType.Float32 : parameter.Type;
        given.Remove(Key(index, "step"), out var step);
        var square = Take("square_avg", TensorValues.NotNegative);
        var delta = Take("acc_delta", TensorValues.NotNegative);
        // PyTorch has no state of a parameter that has not taken part in a step.
        if (step is null && square is null && delta is null)
        {
            writes.Add(() =>
            {
                optimizer.SetStep(index, 0);
                optimizer.GetState(index).SquareAverage.Fill(0);
                optimizer.GetState(index).AccumulatedDelta.Fill(0);
            });
        }
        else if (step is null || square is null || delta is null)
        {
            var missing = step is null ? "step" : square is null ? "square_avg" : "acc_delta";
            faults.Add($"'{Key(index, missing)}' is missing");
        }
        else if (Count(step, out var stepText) is not { } count)
        {
            faults.Add($"'{step.Name}' is {stepText}, expected a whole number from 0 to 2^53");
        }
        else
        {
            writes.Add(() =>
            {
                optimizer.SetStep(index, count);
                square.CopyTo(optimizer.GetState(index).SquareAverage);
                delta.CopyTo(optimizer.GetState(index).AccumulatedDelta);
            });
        }
        // These are views of what the options make, which are set before.
        if (Optional("master", narrow && options.MasterWeights) is { } master)
        {
            writes.Add(() => CopyTo(master, optimizer.GetMasterWeights(index)!));
        }
        if (Optional("average", options.AverageDecay > 0) is { } average)
        {
            writes.Add(() => CopyTo(average, optimizer.GetAverage(index)!));
        }

        static void CopyTo(StoredTensor tensor, DeviceTensor view)
        {
            using (view)
            {
                tensor.CopyTo(view);
            }
        }

        StoredTensor? Optional(string what, bool wanted)
        {
            var name = Key(index, what);
            if (!given.ContainsKey(name))
            {
                if (wanted)
                {
                    faults.Add($"'{name}' is missing");
                }
                return null;
            }
            if (!wanted)
            {
                faults.Add($"'{name}' is there, but the group's options keep none");
            }
            return Take(what, TensorValues.Finite);
        }

        StoredTensor? Take(string what, TensorValues values)
        {
            if (!given.Remove(Key(index, what), out var tensor))
            {
                return null;
            }
            if (!tensor.Shape.SequenceEqual(parameter.Shape))
            {
                faults.Add($"'{tensor.Name}' has shape [{string.Join(", ", tensor.Shape)}], "
                    + $"expected [{string.Join(", ", parameter.Shape)}]");
            }
            if (tensor.Fault(values) is { } fault)
            {
                faults.Add($"'{tensor.Name}' {fault}");
            }
            if (tensor.Type == TypeName(type))
            {
                return tensor;
            }
            // PyTorch's state has the parameter's own type.
            if (narrow && tensor.Type == TypeName(parameter.Type))
            {
                return tensor with { Type = TypeName(type), Pieces = [.. tensor.Pieces.Select(piece => Widened(tensor.Type, piece))] };
            }
            faults.Add($"'{tensor.Name}' has dtype {tensor.Type}, expected {TypeName(type)}"
                + (narrow ? $" or {TypeName(parameter.Type)}" : ""));
            return tensor;
        }
    }

    private static byte[] Widened(string type, byte[] bytes)
    {
        var widened = new byte[2 * bytes.Length];
        var floats = MemoryMarshal.Cast<byte, float>(widened.AsSpan());
        for (var i = 0; i < floats.Length; i++)
        {
            floats[i] = type == SafeTensors.Float16
                ? (float)BitConverter.ToHalf(bytes, 2 * i)
                : new BFloat16(BitConverter.ToUInt16(bytes, 2 * i));
        }
        return widened;
    }

    /// <summary>A step count, of which PyTorch's versions have written floats of either size and whole numbers.</summary>
    private static long? Count(StoredTensor step, out string text)
    {
        double? number = (step.Type, step.ByteCount) switch
        {
            (SafeTensors.Float32, 4) => BitConverter.ToSingle(step.Bytes),
            (SafeTensors.Float64, 8) => BitConverter.ToDouble(step.Bytes),
            (SafeTensors.Int64, 8) => BitConverter.ToInt64(step.Bytes),
            _ => null,
        };
        text = number is { } found
            ? found.ToString(CultureInfo.InvariantCulture)
            : $"{step.Type} of shape [{string.Join(", ", step.Shape)}]";
        return number >= 0 && number <= 1L << 53 && Math.Floor(number.Value) == number ? (long)number.Value : null;
    }
}
