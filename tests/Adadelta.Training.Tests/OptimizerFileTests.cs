using System.Text.Json.Nodes;
using Adadelta.Native;
using NUnit.Framework;

namespace Adadelta.Training.Tests;

internal sealed class OptimizerFileTests
{
    private readonly TemporaryFolder _folder = new();
    private readonly ComputeContext _context = ComputeContext.Create(Device.Cpu, 1);

    private string FileName => _folder["optimizer.safetensors"];

    [OneTimeTearDown]
    public void Dispose()
    {
        _context.Dispose();
        _folder.Dispose();
    }

    // An optimizer over parameters of every type, in two groups.
    private sealed class Setup : IDisposable
    {
        public static readonly ElementType[] Types =
            [ElementType.Float32, ElementType.Float64, ElementType.Float16, ElementType.BFloat16, ElementType.Complex64];

        private readonly List<DeviceTensor> _tensors = [];

        public Setup(ComputeContext context, AdadeltaOptions? first = null, AdadeltaOptions? second = null, int extent = 3)
        {
            Parameters = [.. Types.Select(type => new Parameter($"{type}", Make(type), Make(type)))];
            Optimizer = new AdadeltaOptimizer(
                [new ParameterGroup([.. Parameters.Take(2)], first), new ParameterGroup([.. Parameters.Skip(2)], second)]);

            DeviceTensor Make(ElementType type)
            {
                _tensors.Add(DeviceTensor.Zeros(context, type, 2, extent));
                return _tensors[^1];
            }
        }

        public List<Parameter> Parameters { get; }

        public AdadeltaOptimizer Optimizer { get; }

        public void Step(int count = 1)
        {
            for (var i = 0; i < count; i++)
            {
                foreach (var (parameter, place) in Parameters.Select((parameter, place) => (parameter, place)))
                {
                    parameter.Gradient.Fill(MathF.Sin(Optimizer.GetStep(place) + place));
                }
                Optimizer.Step();
            }
        }

        public byte[][] All() =>
        [
            .. Parameters.SelectMany((parameter, i) => (byte[][])
            [
                parameter.Value.ToBytes(), Optimizer.GetState(i).SquareAverage.ToBytes(),
                Optimizer.GetState(i).AccumulatedDelta.ToBytes(), BitConverter.GetBytes(Optimizer.GetStep(i)),
                Bytes(Optimizer.GetMasterWeights(i)), Bytes(Optimizer.GetAverage(i)),
            ]),
        ];

        public void Dispose()
        {
            Optimizer.Dispose();
            _tensors.ForEach(tensor => tensor.Dispose());
        }

        private static byte[] Bytes(DeviceTensor? tensor)
        {
            using (tensor)
            {
                return tensor?.ToBytes() ?? [];
            }
        }
    }

    private static readonly AdadeltaOptions s_first = new()
    {
        LearningRate = 0.5,
        Rho = 0.95,
        WeightDecay = 0.01,
        Maximize = true,
        Foreach = false,
        Capturable = true,
        AverageDecay = 0.9,
    };

    private static readonly AdadeltaOptions s_second = new()
    {
        Eps = 1e-7,
        MasterWeights = true,
        DecoupledWeightDecay = 0.1,
        ClipValue = 0.8,
        ZeroEps = ZeroEps.Keep,
        AverageDecay = 0.5,
    };

    [Test]
    public void A_loaded_optimizer_goes_on_with_the_same_bits()
    {
        using var saved = new Setup(_context, s_first, s_second);
        saved.Optimizer.PassOptions = new() { ClipNorm = 3, GradientScale = 2, SkipNonfinite = true };
        saved.Optimizer.SetGradient(1, null);
        saved.Step(2);
        saved.Optimizer.SetGradient(1, saved.Parameters[1].Gradient);
        saved.Step();
        OptimizerFile.Save(saved.Optimizer, FileName);

        using var loaded = new Setup(_context);
        foreach (var (from, to) in saved.Parameters.Zip(loaded.Parameters))
        {
            to.Value.WriteBytes(from.Value.ToBytes());
        }
        OptimizerFile.Load(loaded.Optimizer, FileName);
        Assert.That(loaded.Optimizer.GetOptions(0), Is.EqualTo(s_first));
        Assert.That(loaded.Optimizer.GetOptions(1), Is.EqualTo(s_second));
        Assert.That(loaded.Optimizer.PassOptions, Is.EqualTo(saved.Optimizer.PassOptions));
        Assert.That(loaded.Optimizer.GetStep(0), Is.EqualTo(3));
        Assert.That(loaded.Optimizer.GetStep(1), Is.EqualTo(1));
        Assert.That(loaded.All(), Is.EqualTo(saved.All()));
        saved.Step(3);
        loaded.Step(3);
        Assert.That(loaded.All(), Is.EqualTo(saved.All()));
    }

    // torch's test_deterministic_state_dict, and the structure of torch's state_dict.
    [Test]
    public void The_file_has_PyTorch_s_structure_and_is_the_same_each_time()
    {
        using var setup = new Setup(_context, new() { LearningRate = 0.5 });
        setup.Step();
        OptimizerFile.Save(setup.Optimizer, FileName);
        var bytes = File.ReadAllBytes(FileName);
        OptimizerFile.Save(setup.Optimizer, FileName);
        Assert.That(File.ReadAllBytes(FileName), Is.EqualTo(bytes));

        var file = SafeTensors.Read(FileName);
        Assert.That(file.Metadata["format"], Is.EqualTo("pt"));
        Assert.That(file.Metadata["optimizer.version"], Is.EqualTo("1"));
        var groups = JsonNode.Parse(file.Metadata["optimizer.param_groups"])!.AsArray();
        Assert.That(groups, Has.Count.EqualTo(2));
        Assert.That(
            groups[0]!.AsObject().Select(field => field.Key).Take(8),
            Is.EqualTo(new[] { "lr", "rho", "eps", "weight_decay", "foreach", "maximize", "capturable", "differentiable" }));
        Assert.That(groups[0]!["lr"]!.GetValue<double>(), Is.EqualTo(0.5));
        Assert.That(groups[0]!["foreach"], Is.Null);
        Assert.That(groups[1]!["params"]!.ToJsonString(), Is.EqualTo("[2,3,4]"));
        Assert.That(groups[1]!["param_names"]!.ToJsonString(), Is.EqualTo("""["Float16","BFloat16","Complex64"]"""));
        Assert.That(file.Tensors.Select(tensor => tensor.Name), Is.EqualTo(Enumerable.Range(0, 5).SelectMany(
            i => new[] { $"optimizer.state.{i}.step", $"optimizer.state.{i}.square_avg", $"optimizer.state.{i}.acc_delta" })));
        Assert.That(file.Tensors[0].Data, Is.EqualTo(new[] { 1f }));
        Assert.That(file.Tensors[0].Shape, Is.Empty);
        Assert.That(
            file.Tensors.Where(tensor => tensor.Name.EndsWith("acc_delta", StringComparison.Ordinal)).Select(tensor => tensor.Type),
            Is.EqualTo(new[] { "F32", "F64", "F32", "F32", "C64" }));
    }

    // torch's test_state_dict_with... of older versions: keys that came later are missing, the step is a whole number, and a
    // parameter that has never been updated has no state.
    [Test]
    public void State_dicts_of_older_versions_are_taken()
    {
        using var setup = new Setup(_context, s_first, s_second);
        setup.Step(2);
        OptimizerFile.Save(setup.Optimizer, FileName);
        var file = SafeTensors.Read(FileName);
        var metadata = file.Metadata.ToDictionary();
        var groups = JsonNode.Parse(metadata["optimizer.param_groups"])!.AsArray();
        foreach (var group in groups)
        {
            foreach (var key in group!.AsObject().Select(field => field.Key).Except(["lr", "rho", "eps", "weight_decay", "params"]).ToArray())
            {
                group.AsObject().Remove(key);
            }
        }
        SafeTensors.Write(
            FileName,
            [
                .. file.Tensors.Where(tensor => !tensor.Name.Contains(".1.", StringComparison.Ordinal)
                    && !tensor.Name.EndsWith("master", StringComparison.Ordinal) && !tensor.Name.EndsWith("average", StringComparison.Ordinal))
                    .Select(tensor => tensor.Name.EndsWith("step", StringComparison.Ordinal)
                        ? tensor with { Type = "I64", Bytes = BitConverter.GetBytes((long)tensor.Data[0]) } : tensor),
            ],
            new Dictionary<string, string> { ["optimizer.param_groups"] = groups.ToJsonString() });
        OptimizerFile.Load(setup.Optimizer, FileName);
        Assert.That(setup.Optimizer.GetOptions(0), Is.EqualTo(new AdadeltaOptions
        {
            LearningRate = s_first.LearningRate,
            Rho = s_first.Rho,
            Eps = s_first.Eps,
            WeightDecay = s_first.WeightDecay,
        }));
        Assert.That(setup.Optimizer.GetStep(0), Is.EqualTo(2));
        Assert.That(setup.Optimizer.GetStep(1), Is.Zero);
        Assert.That(setup.Optimizer.GetState(1).SquareAverage.ToBytes(), Is.All.Zero);
        Assert.That(setup.Optimizer.GetState(0).SquareAverage.ToArray(), Has.All.GreaterThan(0f));
    }

    // What PyTorch writes for 16-bit parameters: state of their own type.
    [Test]
    public void State_of_a_16_bit_parameter_s_own_type_is_widened()
    {
        using var setup = new Setup(_context);
        setup.Step(2);
        OptimizerFile.Save(setup.Optimizer, FileName);
        Change(tensors =>
        {
            tensors["optimizer.state.2.square_avg"] = new(
                "optimizer.state.2.square_avg", "F16", [2, 3], [.. Enumerable.Repeat(BitConverter.GetBytes((Half)0.25f), 6).SelectMany(b => b)]);
            tensors["optimizer.state.3.acc_delta"] = new(
                "optimizer.state.3.acc_delta", "BF16", [2, 3],
                [.. Enumerable.Repeat(BitConverter.GetBytes(((BFloat16)0.5f).Bits), 6).SelectMany(b => b)]);
        });
        OptimizerFile.Load(setup.Optimizer, FileName);
        Assert.That(setup.Optimizer.GetState(2).SquareAverage.ToArray(), Is.All.EqualTo(0.25f));
        Assert.That(setup.Optimizer.GetState(3).AccumulatedDelta.ToArray(), Is.All.EqualTo(0.5f));
    }

    [Test]
    public void A_learning_rate_in_memory_is_kept_and_written_there_again()
    {
        using var setup = new Setup(_context);
        using var memory = DeviceTensor.Zeros(_context, ElementType.Float32);
        memory.Fill(0.125f);
        setup.Optimizer.SetLearningRateTensor(memory, 1);
        OptimizerFile.Save(setup.Optimizer, FileName);
        memory.Fill(0.5f);
        OptimizerFile.Load(setup.Optimizer, FileName);
        Assert.That(memory.ToArray(), Is.EqualTo(new[] { 0.125f }));
        Assert.That(setup.Optimizer.GetLearningRate(), Is.EqualTo(1));

        memory.Fill(float.NaN);
        Assert.That(() => OptimizerFile.Save(setup.Optimizer, FileName), Throws.InvalidOperationException.With.Message.EqualTo(
            "group 1: the learning rate in memory is NaN, expected a finite one >= 0"));
    }

    [Test]
    public void Steps_beyond_float32_s_whole_numbers_are_kept()
    {
        using var setup = new Setup(_context);
        setup.Optimizer.SetStep(0, (1L << 24) + 1);
        OptimizerFile.Save(setup.Optimizer, FileName);
        setup.Optimizer.StepCount = 0;
        OptimizerFile.Load(setup.Optimizer, FileName);
        Assert.That(setup.Optimizer.GetStep(0), Is.EqualTo((1L << 24) + 1));
    }

    // A file that no run can be loaded from is worse than none: it would be written over one that can.
    [Test]
    public void Save_refuses_state_that_could_not_be_loaded_and_leaves_the_old_file()
    {
        using var setup = new Setup(_context);
        OptimizerFile.Save(setup.Optimizer, FileName);
        var before = File.ReadAllBytes(FileName);
        setup.Optimizer.GetState(0).SquareAverage.Fill(float.NaN);
        Assert.That(() => OptimizerFile.Save(setup.Optimizer, FileName), Throws.InstanceOf<InvalidOperationException>().With.Message.EqualTo(
            "not saved, since it could not be loaded: 'optimizer.state.0.square_avg' is NaN at element 0, expected finite numbers >= 0"));
        Assert.That(File.ReadAllBytes(FileName), Is.EqualTo(before));
    }

    // Some versions of PyTorch wrote steps as arrays of one.
    [Test]
    public void A_step_of_shape_1_is_a_step()
    {
        using var setup = new Setup(_context);
        OptimizerFile.Save(setup.Optimizer, FileName);
        Change(tensors => tensors["optimizer.state.0.step"] = new("optimizer.state.0.step", [1], [5f]));
        OptimizerFile.Load(setup.Optimizer, FileName);
        Assert.That(setup.Optimizer.GetStep(0), Is.EqualTo(5));
    }

    private static IEnumerable<TestCaseData> Misfits()
    {
        yield return Case("two groups of one", (_, m) => Groups(m, g => g.RemoveAt(1)), "1 parameter groups, expected 2");
        yield return Case("a smaller group", (_, m) => Groups(m, g => g[1]!["params"]!.AsArray().RemoveAt(0)), "group 1 has 2 parameters, expected 3");
        yield return Case("another order", (_, m) => Groups(m, g => g[0]!["params"] = new JsonArray(1, 0)), "group 0 has params [1,0], expected 0 to 1");
        yield return Case("no lr", (_, m) => Groups(m, g => g[0]!.AsObject().Remove("lr")), "group 0 has no 'lr'");
        yield return Case("lr 1e300", (_, m) => Groups(m, g => g[0]!["lr"] = 1e300), "1e+300, expected at most 3.40282e+38");
        yield return Case("master weights that are missing", (_, m) => Groups(m, g => g[1]!["master_weights"] = true), "'optimizer.state.2.master' is missing");
        yield return Case("a text for rho", (_, m) => Groups(m, g => g[0]!["rho"] = "x"), "group 0 has 'rho' \"x\"");
        yield return Case("rho 1.1", (_, m) => Groups(m, g => g[1]!["rho"] = 1.1), "group 1: options.Rho: 1.1, expected 0 <= Rho <= 1");
        yield return Case("maximize 1", (_, m) => Groups(m, g => g[1]!["maximize"] = 1), "group 1 has 'maximize' 1");
        yield return Case("differentiable halves", (_, m) => Groups(m, g => { g[1]!["differentiable"] = true; }), "group 1: options.Differentiable: true");
        yield return Case("no groups", (_, m) => m.Remove("optimizer.param_groups"), "no optimizer.param_groups in the metadata");
        yield return Case("no JSON", (_, m) => m["optimizer.param_groups"] = "[", "optimizer.param_groups is not valid JSON");
        yield return Case("no array", (_, m) => m["optimizer.param_groups"] = "{}", "optimizer.param_groups is {}, expected a JSON array");
        yield return Case("a later version", (_, m) => m["optimizer.version"] = "2", "optimizer.version is 2, expected 1");
        yield return Case("scale 0", (_, m) => m["optimizer.pass"] = """{"gradient_scale":0}""", "optimizer.pass has 'gradient_scale' 0");
        yield return Case("a missing average", (t, _) => t.Remove("optimizer.state.1.acc_delta"), "'optimizer.state.1.acc_delta' is missing");
        yield return Case("an unknown tensor", (t, _) => t["optimizer.state.9.step"] = new("optimizer.state.9.step", [], [1f]), "'optimizer.state.9.step' is not part of the optimizer's state");
        yield return Case("another shape", (t, _) => t["optimizer.state.0.square_avg"] = new("optimizer.state.0.square_avg", [3, 2], new float[6]), "'optimizer.state.0.square_avg' has shape [3, 2], expected [2, 3]");
        yield return Case("another type", (t, _) => t["optimizer.state.1.square_avg"] = new("optimizer.state.1.square_avg", [2, 3], new float[6]), "'optimizer.state.1.square_avg' has dtype F32, expected F64");
        yield return Case("half a step", (t, _) => t["optimizer.state.0.step"] = new("optimizer.state.0.step", [], [0.5f]), "'optimizer.state.0.step' is 0.5, expected a whole number from 0 to 2^53");
        yield return Case("a negative step", (t, _) => t["optimizer.state.0.step"] = new("optimizer.state.0.step", [], [-1f]), "'optimizer.state.0.step' is -1, expected a whole number from 0 to 2^53");
        yield return Case("a step of NaN", (t, _) => t["optimizer.state.0.step"] = new("optimizer.state.0.step", [], [float.NaN]), "'optimizer.state.0.step' is NaN, expected");
        yield return Case("an absurd step", (t, _) => t["optimizer.state.0.step"] = new("optimizer.state.0.step", [], [1e30f]), "'optimizer.state.0.step' is 1.0000000150474662E+30, expected");
        yield return Case("a negative square_avg", (t, _) => t["optimizer.state.0.square_avg"] = new("optimizer.state.0.square_avg", [2, 3], [0, 0, 0, 0, -1e-9f, 0]), "'optimizer.state.0.square_avg' is -9.999999717180685E-10 at element 4, expected finite numbers >= 0");
        yield return Case("a negative acc_delta in double", (t, _) => t["optimizer.state.1.acc_delta"] = SafeTensor.FromDoubles("optimizer.state.1.acc_delta", [2, 3], [0, -2, 0, 0, 0, 0]), "'optimizer.state.1.acc_delta' is -2 at element 1, expected finite numbers >= 0");
        yield return Case("a square_avg of NaN", (t, _) => t["optimizer.state.0.square_avg"] = new("optimizer.state.0.square_avg", [2, 3], [float.NaN, 0, 0, 0, 0, 0]), "'optimizer.state.0.square_avg' is NaN at element 0, expected finite numbers >= 0");
        yield return Case("an infinite acc_delta", (t, _) => t["optimizer.state.0.acc_delta"] = new("optimizer.state.0.acc_delta", [2, 3], [0, 0, 0, 0, 0, float.PositiveInfinity]), "'optimizer.state.0.acc_delta' is Infinity at element 5, expected finite numbers >= 0");
        yield return Case("a step of two", (t, _) => t["optimizer.state.0.step"] = new("optimizer.state.0.step", [2], [1f, 1f]), "'optimizer.state.0.step' is F32 of shape [2], expected a whole number");
        yield return Case("an average nobody keeps", (t, _) => t["optimizer.state.0.average"] = new("optimizer.state.0.average", [2, 3], new float[6]), "'optimizer.state.0.average' is there, but the group's options keep none");

        static TestCaseData Case(string name, Action<Dictionary<string, SafeTensor>, Dictionary<string, string>> change, string message) =>
            new TestCaseData(change, message).SetArgDisplayNames(name);

        static void Groups(Dictionary<string, string> metadata, Action<JsonArray> change)
        {
            var groups = JsonNode.Parse(metadata["optimizer.param_groups"])!.AsArray();
            change(groups);
            metadata["optimizer.param_groups"] = groups.ToJsonString();
        }
    }

    [TestCaseSource(nameof(Misfits))]
    public void Load_refuses_what_does_not_fit_and_changes_nothing(
        Action<Dictionary<string, SafeTensor>, Dictionary<string, string>> change, string message)
    {
        using var setup = new Setup(_context);
        setup.Step();
        OptimizerFile.Save(setup.Optimizer, FileName);
        Change(change);
        setup.Step();
        var before = setup.All();
        var options = setup.Optimizer.GetOptions();
        Assert.That(() => OptimizerFile.Load(setup.Optimizer, FileName),
            Throws.TypeOf<InvalidDataException>().With.Message.StartsWith(FileName).And.Message.Contains(message));
        Assert.That(setup.All(), Is.EqualTo(before));
        Assert.That(setup.Optimizer.GetOptions(), Is.EqualTo(options));
    }

    private void Change(Action<Dictionary<string, SafeTensor>> change) => Change((tensors, _) => change(tensors));

    private void Change(Action<Dictionary<string, SafeTensor>, Dictionary<string, string>> change)
    {
        var file = SafeTensors.Read(FileName);
        var tensors = file.Tensors.ToDictionary(tensor => tensor.Name);
        var metadata = file.Metadata.ToDictionary();
        change(tensors, metadata);
        SafeTensors.Write(FileName, [.. tensors.Values], metadata);
    }
}
