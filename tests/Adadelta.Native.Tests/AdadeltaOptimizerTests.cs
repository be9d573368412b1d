using NUnit.Framework;

namespace Adadelta.Native.Tests;

[TestFixture("cpu")]
[TestFixture("cuda", Category = "Cuda")]
internal sealed class AdadeltaOptimizerTests(string device)
{
    private ComputeContext _context = null!;

    public static IEnumerable<TestCaseData> BadOptions
    {
        get
        {
            foreach (var bad in new[] { double.NaN, double.PositiveInfinity, double.NegativeInfinity, -1e-9 })
            {
                yield return new(new AdadeltaOptions { LearningRate = bad }, ".LearningRate: ");
                yield return new(new AdadeltaOptions { Rho = bad }, ".Rho: ");
                yield return new(new AdadeltaOptions { Eps = bad }, ".Eps: ");
                yield return new(new AdadeltaOptions { WeightDecay = bad }, ".WeightDecay: ");
            }
            yield return new(new AdadeltaOptions { Rho = 1.1 }, ".Rho: 1.1, expected 0 <= Rho <= 1");
        }
    }

    [OneTimeSetUp]
    public void CreateContext() => _context = Contexts.On(device, threads: 1);

    [OneTimeTearDown]
    public void DisposeContext() => _context?.Dispose();

    [Test]
    public void The_defaults_are_PyTorch_s()
    {
        using var pair = new Pair(_context, 3);
        using var optimizer = new AdadeltaOptimizer([pair.Parameter]);
        Assert.That(optimizer.GetOptions(), Is.EqualTo(new AdadeltaOptions()));
        Assert.That(
            optimizer.GetOptions(),
            Is.EqualTo(new AdadeltaOptions { LearningRate = 1, Rho = 0.9, Eps = 1e-6, WeightDecay = 0, Maximize = false }));
        Assert.That(optimizer.GroupCount, Is.EqualTo(1));
        Assert.That(optimizer.StepCount, Is.Zero);
    }

    [Test]
    public void Options_come_back_as_they_were_given()
    {
        using var pair = new Pair(_context, 3);
        var options = new AdadeltaOptions { LearningRate = 0.3, Rho = 0.95, Eps = 1e-8, WeightDecay = 0.01, Maximize = true };
        using var optimizer = new AdadeltaOptimizer([pair.Parameter], options);
        Assert.That(optimizer.GetOptions(), Is.EqualTo(options));
        optimizer.SetOptions(options with { Rho = 0.5, Maximize = false });
        Assert.That(optimizer.GetOptions(), Is.EqualTo(options with { Rho = 0.5, Maximize = false }));
    }

    [TestCaseSource(nameof(BadOptions))]
    public void Options_out_of_bounds_are_refused_with_name_value_and_bound(AdadeltaOptions options, string message)
    {
        using var pair = new Pair(_context, 3);
        Assert.That(() => new AdadeltaOptimizer([pair.Parameter], options), Refused());
        using var optimizer = new AdadeltaOptimizer([pair.Parameter]);
        using var second = new Pair(_context, 3);
        Assert.That(() => optimizer.SetOptions(options), Refused());
        Assert.That(() => optimizer.AddGroup(new([second.Parameter], options)), Refused());
        Assert.That(optimizer.GetOptions(), Is.EqualTo(new AdadeltaOptions()));
        Assert.That(optimizer.GroupCount, Is.EqualTo(1));

        NUnit.Framework.Constraints.IResolveConstraint Refused() =>
            Throws.InstanceOf<ArgumentException>().With.Message.Contains(message).And.Message.Contains("expected");
    }

    [Test]
    public void Groups_have_options_of_their_own_or_the_defaults()
    {
        using var first = new Pair(_context, 3);
        using var second = new Pair(_context, 4);
        var defaults = new AdadeltaOptions { Rho = 0.8 };
        var own = new AdadeltaOptions { LearningRate = 0 };
        using var optimizer = new AdadeltaOptimizer([new ParameterGroup([first.Parameter]), new ParameterGroup([second.Parameter], own)], defaults);
        Assert.That(optimizer.GroupCount, Is.EqualTo(2));
        Assert.That(optimizer.GetOptions(0), Is.EqualTo(defaults));
        Assert.That(optimizer.GetOptions(1), Is.EqualTo(own));

        first.Gradient.Fill(1);
        second.Gradient.Fill(1);
        optimizer.Step();
        Assert.That(first.Value.ToArray(), Is.All.LessThan(0f));
        Assert.That(second.Value.ToArray(), Is.All.Zero, "its learning rate is 0");
        Assert.That(optimizer.GetState(1).SquareAverage.ToArray(), Is.All.EqualTo(0.1f).Within(1e-7), "but its averages run");
    }

    [Test]
    public void A_group_added_later_starts_from_zero()
    {
        using var first = new Pair(_context, 3);
        using var second = new Pair(_context, 2);
        using var optimizer = new AdadeltaOptimizer([first.Parameter]);
        first.Gradient.Fill(1);
        optimizer.Step();
        Assert.That(optimizer.AddGroup(new([second.Parameter], new() { LearningRate = 0.5 })), Is.EqualTo(1));
        Assert.That(optimizer.GetState(1).SquareAverage.ToArray(), Is.All.Zero);
        Assert.That(optimizer.GetState(1).AccumulatedDelta.Shape, Is.EqualTo(new long[] { 2 }));
        Assert.That(optimizer.GetState(0).SquareAverage.ToArray(), Is.All.Not.Zero);
        second.Gradient.Fill(1);
        optimizer.Step();
        Assert.That(second.Value.ToArray(), Is.All.LessThan(0f));
        Assert.That(optimizer.StepCount, Is.EqualTo(2));
    }

    [Test]
    public void Groups_do_what_optimizers_of_their_own_would()
    {
        using Pair a = new(_context, 33), b = new(_context, 1000), c = new(_context, 33), d = new(_context, 1000);
        var one = new AdadeltaOptions { LearningRate = 0.1, WeightDecay = 0.01 };
        var two = new AdadeltaOptions { Rho = 0.95, Maximize = true };
        using var together = new AdadeltaOptimizer([new ParameterGroup([a.Parameter], one), new ParameterGroup([b.Parameter], two)]);
        using var apart1 = new AdadeltaOptimizer([c.Parameter], one);
        using var apart2 = new AdadeltaOptimizer([d.Parameter], two);
        for (var step = 0; step < 3; step++)
        {
            foreach (var pair in new[] { a, b, c, d })
            {
                pair.Gradient.Write([.. Enumerable.Range(0, (int)pair.Gradient.Count).Select(i => MathF.Sin(i + step))]);
            }
            together.Step();
            apart1.Step();
            apart2.Step();
        }
        Assert.That(a.Value.ToArray(), Is.EqualTo(c.Value.ToArray()));
        Assert.That(b.Value.ToArray(), Is.EqualTo(d.Value.ToArray()));
    }

    [Test]
    public void The_learning_rate_is_that_of_all_groups()
    {
        using Pair first = new(_context, 3), second = new(_context, 3);
        using var optimizer = new AdadeltaOptimizer(
            [
                new ParameterGroup([first.Parameter], new() { LearningRate = 0.5 }),
                new ParameterGroup([second.Parameter], new() { Rho = 0.7 }),
            ]);
        Assert.That(optimizer.LearningRate, Is.EqualTo(0.5));
        optimizer.LearningRate = 0.25;
        Assert.That(optimizer.GetOptions(0), Is.EqualTo(new AdadeltaOptions { LearningRate = 0.25 }));
        Assert.That(optimizer.GetOptions(1), Is.EqualTo(new AdadeltaOptions { LearningRate = 0.25, Rho = 0.7 }));
        Assert.That(
            () => optimizer.LearningRate = double.NaN, Throws.InstanceOf<ArgumentException>().With.Message.StartsWith("LearningRate: NaN, expected 0 <= LearningRate"));
        Assert.That(optimizer.GetOptions(1).LearningRate, Is.EqualTo(0.25));
        optimizer.SetLearningRate(0.125, 1);
        Assert.That(optimizer.GetLearningRate(), Is.EqualTo(0.25));
        Assert.That(optimizer.GetLearningRate(1), Is.EqualTo(0.125));
    }

    // As torch's schedulers fill an lr that is a tensor.
    [Test]
    public void A_learning_rate_in_memory_is_read_and_set_there()
    {
        using Pair first = new(_context, 3), second = new(_context, 3);
        using var optimizer = new AdadeltaOptimizer([first.Parameter]);
        optimizer.AddGroup(new([second.Parameter]));
        using var memory = DeviceTensor.Zeros(_context, ElementType.Float64);
        memory.Fill(0.5f);
        optimizer.SetLearningRateTensor(memory, 1);
        Assert.That(optimizer.LearningRate, Is.EqualTo(1));
        Assert.That(optimizer.GetLearningRate(1), Is.EqualTo(0.5));
        optimizer.LearningRate = 0;
        Assert.That(memory.ToBytes(), Is.All.Zero);
        second.Gradient.Fill(1);
        var before = second.Value.ToArray();
        optimizer.Step();
        Assert.That(second.Value.ToArray(), Is.EqualTo(before));
        optimizer.SetLearningRateTensor(null, 1);
        Assert.That(optimizer.GetLearningRate(1), Is.EqualTo(1), "the group's options have it again");
        Assert.That(() => optimizer.GetLearningRate(2), Throws.InstanceOf<ArgumentException>());
        Assert.That(() => optimizer.SetLearningRate(1, -1), Throws.InstanceOf<ArgumentException>());
    }

    // One step from zero state: v = 0.1 g^2, so d = sqrt(eps)/sqrt(v + eps) g, which is close to sqrt(10 eps) for any g.
    [Test]
    public void The_learning_rate_of_a_schedule_counts_from_the_next_step_on()
    {
        using var pair = new Pair(_context, 1);
        using var optimizer = new AdadeltaOptimizer([pair.Parameter]);
        pair.Gradient.Fill(100);
        optimizer.LearningRate = 0.5;
        optimizer.Step();
        Assert.That(pair.Value.ToArray()[0], Is.EqualTo(-0.5 * Math.Sqrt(10 * 1e-6)).Within(1e-6));
        optimizer.LearningRate = 0;
        var before = pair.Value.ToArray();
        optimizer.Step();
        Assert.That(pair.Value.ToArray(), Is.EqualTo(before));
    }

    [Test]
    public void State_written_through_its_tensors_resumes_a_run()
    {
        using Pair first = new(_context, 5), second = new(_context, 5);
        using var optimizer = new AdadeltaOptimizer([first.Parameter]);
        using var resumed = new AdadeltaOptimizer([second.Parameter]);
        first.Gradient.Write([1, 2, 3, 4, 5]);
        second.Gradient.Write([1, 2, 3, 4, 5]);
        optimizer.Step();
        second.Value.Write(first.Value.ToArray());
        resumed.GetState(0).SquareAverage.Write(optimizer.GetState(0).SquareAverage.ToArray());
        resumed.GetState(0).AccumulatedDelta.Write(optimizer.GetState(0).AccumulatedDelta.ToArray());
        resumed.StepCount = optimizer.StepCount;
        optimizer.Step();
        resumed.Step();
        Assert.That(second.Value.ToArray(), Is.EqualTo(first.Value.ToArray()));
        Assert.That(resumed.StepCount, Is.EqualTo(2));
    }

    [Test]
    public void Misuse_is_refused()
    {
        using Pair pair = new(_context, 3), other = new(_context, 3);
        using var optimizer = new AdadeltaOptimizer([pair.Parameter]);
        Assert.That(() => new AdadeltaOptimizer((IReadOnlyList<Parameter>)null!), Throws.ArgumentNullException);
        Assert.That(() => new AdadeltaOptimizer((IReadOnlyList<ParameterGroup>)null!), Throws.ArgumentNullException);
        Assert.That(() => new AdadeltaOptimizer(Array.Empty<Parameter>()), Refused("parameters: 0, expected at least 1"));
        Assert.That(() => new AdadeltaOptimizer(Array.Empty<ParameterGroup>()), Refused("groups: 0, expected at least 1"));
        Assert.That(() => new AdadeltaOptimizer([pair.Parameter, pair.Parameter]), Refused("parameters[1]: already parameter 0"));
        Assert.That(() => new AdadeltaOptimizer(new[] { other.Parameter, null! }), Refused("parameters[1]: null"));
        Assert.That(() => optimizer.AddGroup(new([pair.Parameter])), Refused("group.Parameters[0]: already parameter 0"));
        Assert.That(() => optimizer.AddGroup(null!), Throws.ArgumentNullException);
        Assert.That(() => optimizer.SetOptions(null!), Throws.ArgumentNullException);
        Assert.That(() => optimizer.GetOptions(1), Refused("group: 1, expected 0 <= group < 1"));
        Assert.That(() => optimizer.GetOptions(-1), Refused("group: -1, expected 0 <= group < 1"));
        Assert.That(() => optimizer.SetOptions(new(), 1), Refused("group: 1, expected 0 <= group < 1"));
        Assert.That(() => optimizer.GetState(1), Refused("index: 1, expected 0 <= index < 1"));
        Assert.That(() => optimizer.StepCount = -1, Refused("StepCount: -1, expected 0 <= StepCount"));
        using var wide = new DeviceTensor(_context, 4);
        Assert.That(
            () => new AdadeltaOptimizer([new Parameter("p", pair.Value, wide)]),
            Refused("parameters[0].Gradient: shape [4], expected [3]"));
        Assert.That(() => new Parameter(null!, wide, wide), Throws.ArgumentNullException);
        Assert.That(() => new Parameter("p", null!, wide), Throws.ArgumentNullException);
        Assert.That(() => new Parameter("p", wide, null!), Throws.ArgumentNullException);

        static NUnit.Framework.Constraints.IResolveConstraint Refused(string message) =>
            Throws.InstanceOf<ArgumentException>().With.Message.Contains(message);
    }

    [Test]
    public void Contexts_may_not_be_mixed()
    {
        using var other = ComputeContext.Create(Device.Cpu, 1);
        using Pair here = new(_context, 3), there = new(other, 3);
        Assert.That(
            () => new AdadeltaOptimizer([here.Parameter, there.Parameter]),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("parameters[1]: made from another context"));
        Assert.That(
            () => new AdadeltaOptimizer([new Parameter("p", here.Value, there.Gradient)]),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("parameters[0].Gradient: made from another context"));
    }

    private sealed class Pair : IDisposable
    {
        internal Pair(ComputeContext context, int count)
        {
            Value = new DeviceTensor(context, count);
            Gradient = new DeviceTensor(context, count);
            Parameter = new Parameter("p", Value, Gradient);
        }

        internal DeviceTensor Value { get; }

        internal DeviceTensor Gradient { get; }

        internal Parameter Parameter { get; }

        public void Dispose()
        {
            Value.Dispose();
            Gradient.Dispose();
        }
    }
}
