using System.Diagnostics;
using System.Reflection;
using System.Runtime.CompilerServices;
using NUnit.Framework;

namespace Adadelta.Native.Tests;

internal sealed class DisposalTests
{
    private const long Megabyte = 1 << 20;

    [Test]
    public void Objects_may_be_disposed_in_any_order()
    {
        for (var order = 0; order < 120; order++)
        {
            var context = ComputeContext.Create(Device.Cpu, 2);
            var network = SmallNetwork(context);
            var optimizer = new AdadeltaOptimizer(network.Parameters);
            var tensor = new DeviceTensor(context, 3);
            var dataset = DeviceDataset.FromMemory(context, new byte[] { 1, 2, 3, 4 }, [0], network.InputShape);
            network.TrainStep(optimizer, dataset, [0]);
            var remaining = new List<IDisposable> { context, network, optimizer, tensor, dataset };
            for (int index = order, left = 5; left > 0; index /= left, left--)
            {
                remaining[index % left].Dispose();
                remaining[index % left].Dispose();
                remaining.RemoveAt(index % left);
            }
        }
    }

    [Test]
    public void What_was_made_on_a_context_outlives_it()
    {
        var context = ComputeContext.Create(Device.Cpu, 2);
        using var network = SmallNetwork(context);
        using var optimizer = new AdadeltaOptimizer(network.Parameters);
        using var tensor = new DeviceTensor(context, 3);
        context.Dispose();
        Assert.That(network.TrainStep(optimizer, [1, 2, 3, 4], [0]), Is.GreaterThan(0f));
        tensor.Fill(1);
        Assert.That(tensor.ToArray(), Is.All.EqualTo(1f));
    }

    [Test]
    public void An_optimizer_outlives_the_network_whose_parameters_it_trains()
    {
        using var context = ComputeContext.Create(Device.Cpu, 1);
        var network = SmallNetwork(context);
        using var optimizer = new AdadeltaOptimizer(network.Parameters);
        network.TrainStep(optimizer, [1, 2, 3, 4], [0]);
        network.Dispose();
        Assert.That(optimizer.Step, Throws.Nothing);
        Assert.That(optimizer.GetState(0).SquareAverage.ToArray(), Has.Some.Not.Zero);
    }

    [Test]
    public void Parameters_are_disposed_with_their_network_and_state_with_its_optimizer()
    {
        using var context = ComputeContext.Create(Device.Cpu, 1);
        var network = SmallNetwork(context);
        var parameter = network.Parameters[0];
        var optimizer = new AdadeltaOptimizer(network.Parameters);
        var state = optimizer.GetState(0);
        network.Dispose();
        optimizer.Dispose();
        Assert.That(() => parameter.Value.Count, Throws.TypeOf<ObjectDisposedException>());
        Assert.That(parameter.Gradient.ToArray, Throws.TypeOf<ObjectDisposedException>());
        Assert.That(() => state.SquareAverage.Fill(0), Throws.TypeOf<ObjectDisposedException>());
        Assert.That(() => state.AccumulatedDelta.Shape, Throws.TypeOf<ObjectDisposedException>());
        Assert.That(() => new AdadeltaOptimizer([parameter]), Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void A_disposed_context_makes_nothing_more()
    {
        var context = ComputeContext.Create(Device.Cpu, 1);
        context.Dispose();
        Assert.That(() => new DeviceTensor(context, 1), Disposed(nameof(ComputeContext)));
        Assert.That(() => SmallNetwork(context), Disposed(nameof(ComputeContext)));
    }

    [Test]
    public void Every_member_of_a_disposed_context_says_so()
    {
        var context = ComputeContext.Create(Device.Cpu, 1);
        context.Dispose();
        AssertEveryMemberIsDisposed<ComputeContext>(new()
        {
            [nameof(context.Device)] = () => _ = context.Device,
            [nameof(context.DeviceName)] = () => _ = context.DeviceName,
            [nameof(context.ThreadCount)] = () => _ = context.ThreadCount,
            [nameof(context.InstructionSet)] = () => _ = context.InstructionSet,
            [nameof(context.InstructionSetName)] = () => _ = context.InstructionSetName,
            [nameof(context.Libraries)] = () => _ = context.Libraries,
            [nameof(context.DeviceMemoryBytes)] = () => _ = context.DeviceMemoryBytes,
            [nameof(context.DeviceMemoryPeakBytes)] = () => _ = context.DeviceMemoryPeakBytes,
            [nameof(context.Synchronize)] = context.Synchronize,
        });
    }

    [Test]
    public void Every_member_of_a_disposed_tensor_says_so()
    {
        using var context = ComputeContext.Create(Device.Cpu, 1);
        var tensor = new DeviceTensor(context, 1);
        tensor.Dispose();
        AssertEveryMemberIsDisposed<DeviceTensor>(new()
        {
            [nameof(tensor.Context)] = () => _ = tensor.Context,
            [nameof(tensor.Shape)] = () => _ = tensor.Shape,
            [nameof(tensor.Count)] = () => _ = tensor.Count,
            [nameof(tensor.Read)] = () => tensor.Read(new float[1]),
            [nameof(tensor.Write)] = () => tensor.Write(new float[1]),
            [nameof(tensor.Fill)] = () => tensor.Fill(1),
            [nameof(tensor.ToArray)] = () => tensor.ToArray(),
            [nameof(tensor.Type)] = () => _ = tensor.Type,
            [nameof(tensor.ReadAs)] = () => tensor.ReadAs(new float[1].AsSpan()),
            [nameof(tensor.WriteAs)] = () => tensor.WriteAs<float>([1]),
            [nameof(tensor.ToBytes)] = () => tensor.ToBytes(),
            [nameof(tensor.ReadBytes)] = () => tensor.ReadBytes(new byte[4]),
            [nameof(tensor.ByteCount)] = () => _ = tensor.ByteCount,
            [nameof(tensor.WriteBytes)] = () => tensor.WriteBytes(new byte[4]),
        });
    }

    [Test]
    public void Every_member_of_a_disposed_network_says_so()
    {
        using var context = ComputeContext.Create(Device.Cpu, 1);
        var network = SmallNetwork(context);
        using var optimizer = new AdadeltaOptimizer(network.Parameters);
        using var dataset = new DeviceDataset(context, [1, 2, 3, 4], [0], network.InputShape);
        network.Dispose();
        AssertEveryMemberIsDisposed<Network>(new()
        {
            [nameof(network.Context)] = () => _ = network.Context,
            [nameof(network.InputShape)] = () => _ = network.InputShape,
            [nameof(network.OutputCount)] = () => _ = network.OutputCount,
            [nameof(network.MaxBatchSize)] = () => _ = network.MaxBatchSize,
            [nameof(network.Seed)] = () => _ = network.Seed,
            [nameof(network.IsInference)] = () => _ = network.IsInference,
            [nameof(network.Clone)] = () => network.Clone(),
            [nameof(network.CreateInference)] = () => network.CreateInference(),
            [nameof(network.CopyParametersFrom)] = () => network.CopyParametersFrom(network),
            [nameof(network.MemoryBytes)] = () => _ = network.MemoryBytes,
            [nameof(network.Reduction)] = () => _ = network.Reduction,
            [nameof(network.Parameters)] = () => _ = network.Parameters,
            [nameof(network.Layers)] = () => _ = network.Layers,
            [nameof(network.Step)] = () => _ = network.Step,
            ["set Step"] = () => network.Step = 1,
            [nameof(network.GetParameter)] = () => network.GetParameter("fc1.weight"),
            [nameof(network.Forward)] = () => network.Forward([1, 2, 3, 4], []),
            [nameof(network.ForwardExternal)] = () => network.ForwardExternal(1, 1, []),
            [nameof(network.Loss)] = () => network.Loss([0]),
            [nameof(network.Backward)] = network.Backward,
            ["Backward with a gradient"] = () => network.Backward([]),
            [nameof(network.TrainStep)] = () => network.TrainStep(optimizer, [1, 2, 3, 4], [0]),
            ["TrainStep from a data set"] = () => network.TrainStep(optimizer, dataset, [0]),
            [nameof(network.QueueTrainStep)] = () => network.QueueTrainStep(optimizer, dataset, [0]),
            [nameof(network.TrainStepExternal)] = () => network.TrainStepExternal(optimizer, 1, [0]),
            [nameof(network.ReadLosses)] = () => network.ReadLosses([]),
            [nameof(network.ReadInputGradient)] = () => network.ReadInputGradient(new float[4]),
            [nameof(network.ReadActivation)] = () => network.ReadActivation(-1, []),
        });
    }

    [Test]
    public void Every_member_of_a_disposed_optimizer_says_so()
    {
        using var context = ComputeContext.Create(Device.Cpu, 1);
        using var network = SmallNetwork(context);
        var optimizer = new AdadeltaOptimizer(network.Parameters);
        optimizer.Dispose();
        AssertEveryMemberIsDisposed<AdadeltaOptimizer>(new()
        {
            [nameof(optimizer.GroupCount)] = () => _ = optimizer.GroupCount,
            [nameof(optimizer.LearningRate)] = () => _ = optimizer.LearningRate,
            ["set LearningRate"] = () => optimizer.LearningRate = 1,
            [nameof(optimizer.StepCount)] = () => _ = optimizer.StepCount,
            ["set StepCount"] = () => optimizer.StepCount = 1,
            [nameof(optimizer.ParameterCount)] = () => _ = optimizer.ParameterCount,
            [nameof(optimizer.PassOptions)] = () => _ = optimizer.PassOptions,
            ["set PassOptions"] = () => optimizer.PassOptions = new(),
            [nameof(optimizer.LastReport)] = () => _ = optimizer.LastReport,
            [nameof(optimizer.RecordedSteps)] = () => _ = optimizer.RecordedSteps,
            [nameof(optimizer.GetParameters)] = () => optimizer.GetParameters(),
            [nameof(optimizer.SetGradient)] = () => optimizer.SetGradient(0, null),
            [nameof(optimizer.SetLearningRateTensor)] = () => optimizer.SetLearningRateTensor(null),
            [nameof(optimizer.GetLearningRate)] = () => optimizer.GetLearningRate(),
            [nameof(optimizer.SetLearningRate)] = () => optimizer.SetLearningRate(1),
            [nameof(optimizer.GetMasterWeights)] = () => optimizer.GetMasterWeights(0),
            [nameof(optimizer.GetAverage)] = () => optimizer.GetAverage(0),
            [nameof(optimizer.GetStep)] = () => optimizer.GetStep(0),
            [nameof(optimizer.SetStep)] = () => optimizer.SetStep(0, 1),
            [nameof(optimizer.Backward)] = () => optimizer.Backward([]),
            [nameof(optimizer.ClearRecordedSteps)] = optimizer.ClearRecordedSteps,
            [nameof(optimizer.AddGroup)] = () => optimizer.AddGroup(new(network.Parameters)),
            [nameof(optimizer.GetOptions)] = () => optimizer.GetOptions(),
            [nameof(optimizer.SetOptions)] = () => optimizer.SetOptions(new()),
            [nameof(optimizer.Step)] = optimizer.Step,
            [nameof(optimizer.GetState)] = () => optimizer.GetState(-1),
        });
        Assert.That(() => network.TrainStep(optimizer, [1, 2, 3, 4], [0]), Disposed(nameof(AdadeltaOptimizer)));
    }

    [Test]
    public void Disposing_gives_the_memory_back()
    {
        using var context = ComputeContext.Create(Device.Cpu, 1);
        AssertMemoryIsGivenBack(() =>
        {
            using var tensor = new DeviceTensor(context, 32 * Megabyte / sizeof(float));
            tensor.Fill(1);
        });
    }

    [Test]
    public void Finalizers_give_the_memory_back_of_what_was_forgotten()
    {
        using var context = ComputeContext.Create(Device.Cpu, 1);
        AssertMemoryIsGivenBack(() =>
        {
            Forget(context);
            GC.Collect();
            GC.WaitForPendingFinalizers();
        });

        [MethodImpl(MethodImplOptions.NoInlining)]
        static void Forget(ComputeContext context) => new DeviceTensor(context, 32 * Megabyte / sizeof(float)).Fill(1);
    }

    [Test]
    public void The_collector_knows_of_the_memory_that_hangs_on_an_object()
    {
        using var context = ComputeContext.Create(Device.Cpu, 1);
        var before = GC.CollectionCount(0);
        // The runtime puts a collection off where the last one was long for the time since: then it comes in a later round.
        for (var round = 0; round < 1000 && GC.CollectionCount(0) == before; round++)
        {
            var tensors = Enumerable.Range(0, 64).Select(_ => new DeviceTensor(context, 32 * Megabyte / sizeof(float))).ToArray();
            Array.ForEach(tensors, tensor => tensor.Dispose());
        }
        Assert.That(GC.CollectionCount(0), Is.GreaterThan(before), "2 GB, of which the managed objects are a few kB");
    }

    [Test]
    public void Everything_may_be_forgotten_at_once()
    {
        for (var i = 0; i < 20; i++)
        {
            Forget();
        }
        GC.Collect();
        GC.WaitForPendingFinalizers();

        [MethodImpl(MethodImplOptions.NoInlining)]
        static void Forget()
        {
            var context = ComputeContext.Create(Device.Cpu, 2);
            var network = SmallNetwork(context);
            var optimizer = new AdadeltaOptimizer(network.Parameters);
            optimizer.GetState(0);
            network.TrainStep(optimizer, [1, 2, 3, 4], [0]);
        }
    }

    private static Network SmallNetwork(ComputeContext context) =>
        new NetworkBuilder(1, 2, 2).Flatten().Linear(3).Build(context);

    private static NUnit.Framework.Constraints.IResolveConstraint Disposed(string type) =>
        Throws.TypeOf<ObjectDisposedException>().With.Property(nameof(ObjectDisposedException.ObjectName)).EndsWith(type);

    // The list of members is held against the type's, so that a new one cannot be forgotten.
    private static void AssertEveryMemberIsDisposed<T>(Dictionary<string, Action> members)
    {
        var names = typeof(T).GetMembers(BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly)
            .Where(member => member is PropertyInfo or MethodInfo { IsSpecialName: false })
            .Select(member => member.Name).Distinct().Except([nameof(IDisposable.Dispose)]);
        Assert.That(members.Keys.Where(key => !key.Contains(' ', StringComparison.Ordinal)), Is.EquivalentTo(names));
        foreach (var (name, use) in members)
        {
            Assert.That(use, Disposed(typeof(T).Name), name);
        }
    }

    // 64 times 32 MB would be 2 GB.
    private static void AssertMemoryIsGivenBack(Action use)
    {
        use();
        var before = WorkingSet();
        for (var i = 0; i < 64; i++)
        {
            use();
        }
        Assert.That(WorkingSet() - before, Is.LessThan(512 * Megabyte));

        static long WorkingSet()
        {
            using var process = Process.GetCurrentProcess();
            return process.WorkingSet64;
        }
    }
}
