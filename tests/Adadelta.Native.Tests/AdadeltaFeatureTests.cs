using System.Runtime.InteropServices;
using NUnit.Framework;

namespace Adadelta.Native.Tests;

// Everything that the optimizer does beyond float32 parameters and PyTorch's own options, through the C# layer; and the list of
// tests that PyTorch has for its own.
internal sealed class AdadeltaFeatureTests
{
    // A double rounds at 1.1e-16. Ten steps make a hundred such errors in a row, and where weight decay nearly cancels a gradient
    // or a step brings a parameter close to 0 they are multiplied by hundreds.
    private const double RoundingsOfDoubles = 1e-12;

    private ComputeContext _context = null!;

    public static IEnumerable<TestCaseData> Configurations =>
        new (string Name, AdadeltaOptions Options)[]
        {
            ("default", new()),
            ("lr", new() { LearningRate = 0.01 }),
            ("weight_decay", new() { WeightDecay = 0.1 }),
            ("maximize", new() { Maximize = true }),
            ("weight_decay and maximize", new() { WeightDecay = 0.1, Maximize = true }),
            ("rho and weight_decay", new() { Rho = 0.95, WeightDecay = 0.9 }),
            ("capturable", new() { Capturable = true }),
            ("capturable and weight_decay", new() { Capturable = true, WeightDecay = 0.1 }),
        }.Select(one => new TestCaseData(one.Options).SetArgDisplayNames(one.Name));

    [OneTimeSetUp]
    public void CreateContext() => _context = Contexts.Create(2);

    [OneTimeTearDown]
    public void DisposeContext() => _context.Dispose();

    // ---- PyTorch's list ----

    [Test]
    public void Three_steps_have_the_known_values()
    {
        using var pair = new Doubles(_context, 1);
        using var optimizer = new AdadeltaOptimizer([pair.Parameter]);
        pair.P[0] = 1;
        pair.G[0] = 0.01;
        for (var step = 0; step < 3; step++)
        {
            optimizer.Step();
        }
        // Some thirty roundings of 1.1e-16.
        Assert.That(pair.P[0], Is.EqualTo(0.9907540797278012).Within(4e-16));
        Assert.That(Read(optimizer.GetState(0).SquareAverage)[0], Is.EqualTo(2.71e-5).Within(2.71e-5 * 3e-15));
        Assert.That(
            Read(optimizer.GetState(0).AccumulatedDelta)[0],
            Is.EqualTo(2.582190229699127e-06).Within(2.582190229699127e-06 * 3e-15));
        Assert.That(optimizer.GetStep(0), Is.EqualTo(3));
    }

    [TestCaseSource(nameof(Configurations))]
    public void Every_configuration_equals_the_formula_and_changes_no_gradient(AdadeltaOptions options)
    {
        using var pair = new Doubles(_context, 1003);
        using var optimizer = new AdadeltaOptimizer([pair.Parameter], options);
        var random = new Random(3);
        Fill(pair.P, random);
        var expected = new Formula(pair.P);
        for (var step = 0; step < 10; step++)
        {
            Fill(pair.G, random);
            var given = pair.G.ToArray();
            optimizer.Step();
            expected.Step(given, options);
            Assert.That(pair.G, Is.EqualTo(given));
        }
        expected.AssertEqual(pair.P, optimizer);
    }

    [Test]
    public void A_rho_of_1_1_is_refused_by_constructor_group_and_setter()
    {
        using Doubles pair = new(_context, 2), other = new(_context, 2);
        using var optimizer = new AdadeltaOptimizer([pair.Parameter]);
        var bad = new AdadeltaOptions { Rho = 1.1 };
        Assert.That(() => new AdadeltaOptimizer([other.Parameter], bad), Refused());
        Assert.That(() => optimizer.AddGroup(new([other.Parameter], bad)), Refused());
        Assert.That(() => optimizer.SetOptions(bad), Refused());
        Assert.That(optimizer.ParameterCount, Is.EqualTo(1));

        static NUnit.Framework.Constraints.IResolveConstraint Refused() =>
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("Rho: 1.1, expected 0 <= Rho <= 1");
    }

    // torch's test_foreach_matches_forloop: 7 steps, gradients that come and go, and a layer that never has one.
    [TestCaseSource(nameof(Configurations))]
    public void Foreach_equals_the_loop_over_tensors(AdadeltaOptions options)
    {
        var results = new List<double[]>();
        foreach (bool? choice in (bool?[])[false, true, null])
        {
            var random = new Random(7);
            Doubles[] layers = [.. new[] { 5, 1, 4099, 20_000, 3 }.Select(count => new Doubles(_context, count))];
            using (var optimizer = new AdadeltaOptimizer(
                [.. layers.Select(layer => layer.Parameter)], options with { Foreach = choice }))
            {
                foreach (var layer in layers)
                {
                    Fill(layer.P, random);
                }
                optimizer.SetGradient(4, null);
                for (var step = 0; step < 7; step++)
                {
                    for (var i = 0; i < 4; i++)
                    {
                        Fill(layers[i].G, random);
                        optimizer.SetGradient(i, (step + i) % 3 == 0 ? null : layers[i].Parameter.Gradient);
                    }
                    optimizer.Step();
                }
                Assert.That(optimizer.GetStep(4), Is.Zero, "the frozen layer");
                Assert.That(optimizer.GetStep(0), Is.EqualTo(4));
                Assert.That(optimizer.GetStep(1), Is.EqualTo(5));
                results.Add([.. layers.SelectMany((layer, i) => layer.P
                    .Concat(Read(optimizer.GetState(i).SquareAverage)).Concat(Read(optimizer.GetState(i).AccumulatedDelta)))]);
            }
            foreach (var layer in layers)
            {
                layer.Dispose();
            }
        }
        Assert.That(results[1], Is.EqualTo(results[0]));
        Assert.That(results[2], Is.EqualTo(results[0]));
    }

    [TestCase(false)]
    [TestCase(true)]
    public void It_goes_the_right_direction(bool maximize)
    {
        using var pair = new Doubles(_context, 2);
        using var optimizer = new AdadeltaOptimizer([pair.Parameter], new() { Maximize = maximize });
        var rate = 1.0;
        (pair.P[0], pair.P[1]) = (1.5, 1.5);
        var first = Rosenbrock(pair.P);
        for (var step = 0; step < 300; step++)
        {
            var (x, y) = (pair.P[0], pair.P[1]);
            pair.G[0] = -2 * (1 - x) - 400 * x * (y - x * x);
            pair.G[1] = 200 * (y - x * x);
            optimizer.Step();
            optimizer.LearningRate = rate *= 0.99;
        }
        Assert.That(Rosenbrock(pair.P), maximize ? Is.GreaterThan(first) : Is.LessThan(first));

        static double Rosenbrock(double[] p) => Math.Pow(1 - p[0], 2) + 100 * Math.Pow(p[1] - p[0] * p[0], 2);
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(2)]
    public void A_learning_rate_in_memory_is_read_at_the_step_whatever_its_rank(int rank)
    {
        using Doubles tensor = new(_context, 50), number = new(_context, 50);
        using var rate = DeviceTensor.Zeros(_context, ElementType.Float64, new long[rank].Select(_ => 1L).ToArray());
        using var first = new AdadeltaOptimizer([tensor.Parameter], new() { Capturable = true });
        using var second = new AdadeltaOptimizer([number.Parameter]);
        first.SetLearningRateTensor(rate);
        var random = new Random(4);
        foreach (var lr in (double[])[0.5, 0.25, 1e-3])
        {
            Fill(tensor.G, random);
            tensor.G.CopyTo(number.G, 0);
            rate.WriteAs<double>([lr]);
            second.LearningRate = lr;
            first.Step();
            second.Step();
            Assert.That(tensor.P, Is.EqualTo(number.P));
        }
        first.SetLearningRateTensor(null);
        second.LearningRate = first.LearningRate;
        first.Step();
        second.Step();
        Assert.That(tensor.P, Is.EqualTo(number.P));
        using var two = DeviceTensor.Zeros(_context, ElementType.Float64, 2);
        Assert.That(
            () => first.SetLearningRateTensor(two), Throws.InstanceOf<ArgumentException>().With.Message.Contains("learningRate: shape [2], expected one element"));
    }

    [Test]
    public void Complex_numbers_are_pairs()
    {
        using DeviceTensor value = DeviceTensor.Zeros(_context, ElementType.Complex64, 37), gradient = DeviceTensor.Zeros(_context, ElementType.Complex64, 37);
        using DeviceTensor pairs = new(_context, 37, 2), pairGradients = new(_context, 37, 2);
        var options = new AdadeltaOptions { WeightDecay = 0.1, Maximize = true };
        using var complex = new AdadeltaOptimizer([new Parameter("z", value, gradient)], options);
        using var real = new AdadeltaOptimizer([new Parameter("xy", pairs, pairGradients)], options);
        var random = new Random(5);
        for (var step = 0; step < 5; step++)
        {
            var numbers = Enumerable.Range(0, 74).Select(_ => random.NextSingle() - 0.5f).ToArray();
            gradient.WriteAs<float>(numbers);
            pairGradients.Write(numbers);
            complex.Step();
            real.Step();
        }
        var found = new float[74];
        value.ReadAs<float>(found);
        Assert.That(found, Is.EqualTo(pairs.ToArray()).And.Not.All.Zero);
        complex.GetState(0).SquareAverage.ReadAs<float>(found);
        Assert.That(found, Is.EqualTo(real.GetState(0).SquareAverage.ToArray()));
    }

    [Test]
    public void Missing_and_zero_gradients_change_nothing()
    {
        using var pair = new Doubles(_context, 20);
        Fill(pair.P, new Random(6));
        var before = pair.P.ToArray();
        using var optimizer = new AdadeltaOptimizer([pair.Parameter]);
        optimizer.SetGradient(0, null);
        optimizer.Step();
        Assert.That(optimizer.GetStep(0), Is.Zero);
        optimizer.SetGradient(0, pair.Parameter.Gradient);
        optimizer.Step();
        Assert.That(optimizer.GetStep(0), Is.EqualTo(1));
        Assert.That(pair.P, Is.EqualTo(before));
        Assert.That(Read(optimizer.GetState(0).SquareAverage), Is.All.Zero);
    }

    [Test]
    public void The_presets_are_their_sources()
    {
        Assert.That(AdadeltaOptions.PyTorch, Is.EqualTo(new AdadeltaOptions { LearningRate = 1, Rho = 0.9, Eps = 1e-6 }));
        Assert.That(AdadeltaOptions.Paper2012, Is.EqualTo(new AdadeltaOptions { LearningRate = 1, Rho = 0.95, Eps = 1e-6 }));
        Assert.That(AdadeltaOptions.Keras, Is.EqualTo(new AdadeltaOptions { LearningRate = 0.001, Rho = 0.95, Eps = 1e-7 }));
    }

    // ---- Types and sources ----

    // The state is float32: each step is that of float32 numbers, of which the 16-bit parameter takes the nearest.
    [TestCase(ElementType.Float16, false)]
    [TestCase(ElementType.Float16, true)]
    [TestCase(ElementType.BFloat16, false)]
    [TestCase(ElementType.BFloat16, true)]
    public void Sixteen_bit_parameters_are_rounded_float32_ones(ElementType type, bool master)
    {
        const int count = 300;
        using DeviceTensor value = DeviceTensor.Zeros(_context, type, count), gradient = DeviceTensor.Zeros(_context, type, count);
        using DeviceTensor wide = new(_context, count), wideGradient = new(_context, count);
        var options = new AdadeltaOptions { LearningRate = 0.1, WeightDecay = 0.01, MasterWeights = master };
        var random = new Random(8);
        Write(value, [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - 0.5f)]);
        wide.Write(Floats(value));
        using var narrow = new AdadeltaOptimizer([new Parameter("p", value, gradient)], options);
        using var reference = new AdadeltaOptimizer([new Parameter("p", wide, wideGradient)], options);
        for (var step = 0; step < 5; step++)
        {
            Write(gradient, [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - 0.5f)]);
            wideGradient.Write(Floats(gradient));
            narrow.Step();
            reference.Step();
            var exact = wide.ToArray();
            Assert.That(Floats(value), Is.EqualTo(exact.Select(x => Rounded(x, type))));
            using var weights = narrow.GetMasterWeights(0);
            Assert.That(weights?.ToArray(), master ? Is.EqualTo(exact) : Is.Null);
            if (!master)
            {
                wide.Write(Floats(value));
            }
        }
        Assert.That(narrow.GetState(0).SquareAverage.Type, Is.EqualTo(ElementType.Float32));
        Assert.That(narrow.GetState(0).SquareAverage.ToArray(), Is.EqualTo(reference.GetState(0).SquareAverage.ToArray()));
    }

    [Test]
    public void Pinned_memory_is_used_in_place_and_lives_as_long_as_the_optimizer()
    {
        var weights = new float[1000];
        var gradients = new float[1000];
        using var optimizer = Make(_context, weights.AsMemory(), gradients.AsMemory());
        gradients.AsSpan().Fill(1);
        // The tensors are disposed; had they let go of the memory, this would move it.
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Forced, blocking: true, compacting: true);
        optimizer.Step();
        Assert.That(weights, Is.All.LessThan(0f));

        static AdadeltaOptimizer Make(ComputeContext context, Memory<float> p, Memory<float> g)
        {
            using DeviceTensor value = DeviceTensor.FromMemory(context, p, 10, 100), gradient = DeviceTensor.FromMemory(context, g, 10, 100);
            return new AdadeltaOptimizer([new Parameter("p", value, gradient)]);
        }
    }

    [Test]
    public unsafe void Memory_of_the_caller_is_used_in_place()
    {
        var data = (float*)NativeMemory.AllocZeroed(20, sizeof(float));
        try
        {
            using DeviceTensor value = DeviceTensor.FromPointer(_context, (nint)data, ElementType.Float32, 10);
            using DeviceTensor gradient = DeviceTensor.FromPointer(_context, (nint)(data + 10), ElementType.Float32, 10);
            using var optimizer = new AdadeltaOptimizer([new Parameter("p", value, gradient)]);
            new Span<float>(data + 10, 10).Fill(2);
            optimizer.Step();
            Assert.That(new Span<float>(data, 10).ToArray(), Is.All.LessThan(0f));
            Assert.That(
                () => DeviceTensor.FromPointer(_context, (nint)data + 1, ElementType.Float32, 10),
                Throws.InstanceOf<ArgumentException>().With.Message.Contains("data"));
            Assert.That(
                () => new AdadeltaOptimizer([new Parameter("p", value, value)]),
                Throws.InstanceOf<ArgumentException>().With.Message.Contains("parameters[0].Gradient: the memory of its parameter"));
        }
        finally
        {
            NativeMemory.Free(data);
        }
    }

    // ---- In the same pass ----

    [Test]
    public void A_nonfinite_gradient_skips_the_step_and_its_counts()
    {
        using Doubles first = new(_context, 10), second = new(_context, 10_000);
        using var optimizer = new AdadeltaOptimizer([first.Parameter, second.Parameter])
        {
            PassOptions = new() { SkipNonfinite = true, GradientScale = 1024 },
        };
        first.G.AsSpan().Fill(1024);
        foreach (var bad in (double[])[double.NaN, double.PositiveInfinity, double.NegativeInfinity])
        {
            second.G[9_999] = bad;
            optimizer.Step();
            Assert.That(optimizer.LastReport.Skipped);
            Assert.That(optimizer.StepCount, Is.Zero);
            Assert.That(first.P.Concat(second.P), Is.All.Zero);
        }
        second.G[9_999] = 0;
        optimizer.Step();
        Assert.That(optimizer.LastReport.Skipped, Is.False);
        Assert.That(optimizer.StepCount, Is.EqualTo(1));
        var expected = new Formula(new double[10]);
        expected.Step([.. Enumerable.Repeat(1.0, 10)], new());
        expected.AssertEqual(first.P, optimizer);
    }

    [Test]
    public void Gradients_are_unscaled_clipped_and_zeroed_in_this_order()
    {
        using var pair = new Doubles(_context, 500);
        var options = new AdadeltaOptions { ClipValue = 0.3 };
        using var optimizer = new AdadeltaOptimizer([pair.Parameter], options);
        var pass = new AdadeltaPassOptions { GradientScale = 8, ClipNorm = 1, ZeroGradients = true };
        optimizer.PassOptions = pass;
        Assert.That(optimizer.PassOptions, Is.EqualTo(pass));
        Fill(pair.G, new Random(9), 8);
        double[] clipped = [.. pair.G.Select(g => Math.Clamp(g / 8, -0.3, 0.3))];
        var norm = Math.Sqrt(clipped.Sum(g => g * g));
        Assert.That(norm, Is.GreaterThan(1), "the example");
        var expected = new Formula(pair.P);
        expected.Step([.. clipped.Select(g => g / (norm + 1e-6))], options);
        optimizer.Step();
        Assert.That(optimizer.LastReport.Norm, Is.EqualTo(norm).Within(norm * RoundingsOfDoubles));
        expected.AssertEqual(pair.P, optimizer);
        Assert.That(pair.G, Is.All.Zero);
        Assert.That(
            () => optimizer.PassOptions = new() { ClipNorm = -1 }, Throws.InstanceOf<ArgumentException>().With.Message.Contains("PassOptions.ClipNorm: -1"));
        Assert.That(
            () => optimizer.PassOptions = new() { GradientScale = 0 },
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("PassOptions.GradientScale: 0"));
        Assert.That(optimizer.PassOptions, Is.EqualTo(pass));
    }

    [Test]
    public void Decoupled_decay_and_the_average_follow_their_formulas()
    {
        using var pair = new Doubles(_context, 200);
        var options = new AdadeltaOptions { LearningRate = 0.5, DecoupledWeightDecay = 0.1, WeightDecay = 0.01, AverageDecay = 0.9 };
        var random = new Random(10);
        Fill(pair.P, random);
        var expected = new Formula(pair.P);
        var average = pair.P.ToArray();
        using var optimizer = new AdadeltaOptimizer([pair.Parameter], options);
        for (var step = 0; step < 5; step++)
        {
            Fill(pair.G, random);
            optimizer.Step();
            expected.Step(pair.G, options);
            for (var i = 0; i < average.Length; i++)
            {
                average[i] = 0.9 * average[i] + (1 - 0.9) * pair.P[i];
            }
        }
        expected.AssertEqual(pair.P, optimizer);
        using var found = optimizer.GetAverage(0)!;
        Assert.That(Read(found), Is.EqualTo(average).Within(RoundingsOfDoubles));
        optimizer.SetOptions(options with { AverageDecay = 0 });
        Assert.That(optimizer.GetAverage(0), Is.Null);
    }

    [TestCase(ZeroEps.NaN)]
    [TestCase(ZeroEps.Keep)]
    public void An_eps_of_0_makes_NaN_of_a_gradient_of_0_or_keeps_the_parameter(ZeroEps choice)
    {
        using var pair = new Doubles(_context, 2);
        (pair.P[0], pair.P[1], pair.G[1]) = (3, 3, 1);
        using var optimizer = new AdadeltaOptimizer([pair.Parameter], new() { Eps = 0, ZeroEps = choice });
        optimizer.Step();
        Assert.That(pair.P[0], Is.EqualTo(choice == ZeroEps.Keep ? 3 : double.NaN));
        Assert.That(pair.P[1], Is.EqualTo(3), "the first step of PyTorch's own is 0 with an eps of 0");
        Assert.That(
            () => optimizer.SetOptions(new() { Eps = 0, ZeroEps = ZeroEps.Refuse }),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("options.Eps: 0, expected Eps > 0"));
    }

    // ---- Derivatives ----

    // torch's test_differentiable: n = 10, lr 0.9, weight_decay 0.1, 10 steps, a random state. A central difference with a step of
    // 1e-6 is off by about the step's square and by 1e-16 / 1e-6 of the value.
    [Test]
    public void Backward_equals_finite_differences()
    {
        const int n = 10, steps = 10;
        const double h = 1e-6;
        var random = new Random(11);
        // Inputs: p, square_avg, acc_delta, each step's gradient, lr.
        double[] inputs = [.. Enumerable.Range(0, (3 + steps) * n).Select(i => Next(random, i is >= n and < 3 * n)), 0.9];
        double[] weights = [.. Enumerable.Range(0, 3 * n).Select(_ => Next(random, false))];
        var gradients = new double[inputs.Length];
        Value(gradients);
        for (var i = 0; i < inputs.Length; i++)
        {
            var kept = inputs[i];
            inputs[i] = kept + h;
            var above = Value(null);
            inputs[i] = kept - h;
            var below = Value(null);
            inputs[i] = kept;
            var expected = (above - below) / (2 * h);
            Assert.That(gradients[i], Is.EqualTo(expected).Within(1e-7 + 1e-5 * Math.Abs(expected)), $"input {i}");
        }

        static double Next(Random random, bool positive) => positive ? random.NextDouble() : 2 * random.NextDouble() - 1;

        double Value(double[]? back)
        {
            using var pair = new Doubles(_context, n);
            using var optimizer = new AdadeltaOptimizer(
                [pair.Parameter], new() { LearningRate = inputs[^1], WeightDecay = 0.1, Differentiable = true });
            inputs.AsSpan(0, n).CopyTo(pair.P);
            optimizer.GetState(0).SquareAverage.WriteAs<double>(inputs.AsSpan(n, n));
            optimizer.GetState(0).AccumulatedDelta.WriteAs<double>(inputs.AsSpan(2 * n, n));
            for (var step = 0; step < steps; step++)
            {
                inputs.AsSpan((3 + step) * n, n).CopyTo(pair.G);
                optimizer.Step();
            }
            double[] outputs =
                [.. pair.P, .. Read(optimizer.GetState(0).SquareAverage), .. Read(optimizer.GetState(0).AccumulatedDelta)];
            if (back is not null)
            {
                GoBack(optimizer, back);
            }
            return outputs.Zip(weights, (output, weight) => output * weight).Sum();
        }

        void GoBack(AdadeltaOptimizer optimizer, double[] back)
        {
            Assert.That(optimizer.RecordedSteps, Is.EqualTo(steps));
            using Doubles bars = new(_context, n), state = new(_context, n);
            weights.AsSpan(0, n).CopyTo(bars.P);
            weights.AsSpan(n, n).CopyTo(state.P);
            weights.AsSpan(2 * n, n).CopyTo(state.G);
            var cotangent = new AdadeltaCotangent(
                bars.Parameter.Value, bars.Parameter.Gradient, state.Parameter.Value, state.Parameter.Gradient);
            for (var step = steps - 1; step >= 0; step--)
            {
                optimizer.Backward([cotangent], back.AsSpan(^1));
                bars.G.CopyTo(back, (3 + step) * n);
            }
            bars.P.CopyTo(back, 0);
            state.P.CopyTo(back, n);
            state.G.CopyTo(back, 2 * n);
            Assert.That(optimizer.RecordedSteps, Is.Zero);
            Assert.That(() => optimizer.Backward([cotangent]), Throws.InvalidOperationException);
        }
    }

    // ---- Cost ----

    [Test]
    public void A_step_allocates_nothing()
    {
        using Doubles pair = new(_context, 100), other = new(_context, 40_000);
        using var rate = DeviceTensor.Zeros(_context, ElementType.Float64, 1);
        using var optimizer = new AdadeltaOptimizer(
            [pair.Parameter, other.Parameter], new() { AverageDecay = 0.9, ClipValue = 1, DecoupledWeightDecay = 0.1 });
        optimizer.PassOptions = new() { ClipNorm = 1, SkipNonfinite = true, ZeroGradients = true };
        optimizer.SetLearningRateTensor(rate);
        var skipped = false;
        Steps();
        var before = GC.GetAllocatedBytesForCurrentThread();
        Steps();
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
        Assert.That(skipped, Is.False);

        void Steps()
        {
            for (var step = 0; step < 10; step++)
            {
                optimizer.SetGradient(0, step % 2 == 0 ? null : pair.Parameter.Gradient);
                optimizer.Step();
                skipped |= optimizer.LastReport.Skipped;
            }
        }
    }

    private static void Fill(double[] numbers, Random random, double scale = 1)
    {
        for (var i = 0; i < numbers.Length; i++)
        {
            numbers[i] = scale * (2 * random.NextDouble() - 1);
        }
    }

    private static double[] Read(DeviceTensor tensor)
    {
        var numbers = new double[tensor.Count];
        tensor.ReadAs<double>(numbers);
        return numbers;
    }

    private static float Rounded(float x, ElementType type) => type == ElementType.Float16 ? (float)(Half)x : (float)(BFloat16)x;

    private static float[] Floats(DeviceTensor tensor)
    {
        if (tensor.Type == ElementType.Float16)
        {
            var halves = new Half[tensor.Count];
            tensor.ReadAs<Half>(halves);
            return [.. halves.Select(x => (float)x)];
        }
        var numbers = new BFloat16[tensor.Count];
        tensor.ReadAs<BFloat16>(numbers);
        return [.. numbers.Select(x => (float)x)];
    }

    private static void Write(DeviceTensor tensor, float[] numbers)
    {
        if (tensor.Type == ElementType.Float16)
        {
            tensor.WriteAs<Half>([.. numbers.Select(x => (Half)x)]);
        }
        else
        {
            tensor.WriteAs<BFloat16>([.. numbers.Select(x => (BFloat16)x)]);
        }
    }

    /// <summary>The formula of torch.optim.Adadelta, in double.</summary>
    private sealed class Formula(double[] start)
    {
        private readonly double[] _p = [.. start];
        private readonly double[] _v = new double[start.Length];
        private readonly double[] _u = new double[start.Length];

        public void Step(double[] gradient, AdadeltaOptions o)
        {
            for (var i = 0; i < _p.Length; i++)
            {
                var g = (o.Maximize ? -gradient[i] : gradient[i]) + o.WeightDecay * _p[i];
                _v[i] = o.Rho * _v[i] + (1 - o.Rho) * g * g;
                var d = Math.Sqrt(_u[i] + o.Eps) / Math.Sqrt(_v[i] + o.Eps) * g;
                _u[i] = o.Rho * _u[i] + (1 - o.Rho) * d * d;
                _p[i] = _p[i] * (1 - o.LearningRate * o.DecoupledWeightDecay) - o.LearningRate * d;
            }
        }

        public void AssertEqual(double[] p, AdadeltaOptimizer optimizer)
        {
            Assert.That(p, Is.EqualTo(_p).Within(RoundingsOfDoubles));
            var state = optimizer.GetState(0);
            Assert.That(Read(state.SquareAverage), Is.EqualTo(_v).Within(RoundingsOfDoubles));
            Assert.That(Read(state.AccumulatedDelta), Is.EqualTo(_u).Within(RoundingsOfDoubles));
        }
    }

    /// <summary>A float64 parameter and its gradient on managed memory.</summary>
    private sealed class Doubles : IDisposable
    {
        public Doubles(ComputeContext context, int count)
        {
            (P, G) = (new double[count], new double[count]);
            Parameter = new Parameter("p", DeviceTensor.FromMemory<double>(context, P), DeviceTensor.FromMemory<double>(context, G));
        }

        public double[] P { get; }

        public double[] G { get; }

        public Parameter Parameter { get; }

        public void Dispose()
        {
            Parameter.Value.Dispose();
            Parameter.Gradient.Dispose();
        }
    }
}
