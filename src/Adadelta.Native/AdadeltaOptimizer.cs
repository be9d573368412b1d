using System.Runtime.InteropServices;
using Adadelta.Native.Interop;

namespace Adadelta.Native;

/// <summary>
/// Adadelta as <c>torch.optim.Adadelta</c> defines it (Zeiler, arXiv 1212.5701), over all parameters in one pass. For each
/// element: g = -g if maximize; g += weight_decay·p; v = rho·v + (1-rho)·g²; d = sqrt(u+eps)/sqrt(v+eps)·g;
/// u = rho·u + (1-rho)·d²; p -= lr·d.
/// </summary>
/// <remarks>
/// It keeps the parameters' memory alive, so that it and their network may be disposed in any order. An optimizer, every tensor
/// that it was given, its state and the networks whose parameters it was given count as one object: while a thread runs a call on
/// one of these, a call on another thread gives an <see cref="InvalidOperationException"/> and changes nothing.
/// </remarks>
public sealed unsafe class AdadeltaOptimizer : IDisposable
{
    private readonly AdadeltaHandle _handle;
    private readonly ComputeContext _context;
    private readonly List<AdadeltaState?> _states = [];
    private readonly List<IReadOnlyList<Parameter>> _groups = [];

    /// <summary>Makes an optimizer with one group.</summary>
    /// <param name="parameters">What it trains, at least one, all on one context.</param>
    /// <param name="options">Its settings; null takes PyTorch's defaults.</param>
    /// <exception cref="ArgumentException">
    /// A setting is out of its bounds, there is no parameter, one is given twice, or contexts or shapes differ.
    /// </exception>
    /// <exception cref="ObjectDisposedException">A parameter or its context is disposed.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for its state.</exception>
    public AdadeltaOptimizer(IReadOnlyList<Parameter> parameters, AdadeltaOptions? options = null)
        : this([new ParameterGroup(parameters)], options, "", nameof(options))
    {
    }

    /// <summary>Makes an optimizer with several groups.</summary>
    /// <param name="groups">What it trains, at least one group, all on one context.</param>
    /// <param name="defaults">Settings of the groups that have none; null takes PyTorch's defaults.</param>
    /// <exception cref="ArgumentException">
    /// A setting is out of its bounds, a group is empty, a parameter is given twice, or contexts or shapes differ.
    /// </exception>
    /// <exception cref="ObjectDisposedException">A parameter or its context is disposed.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for its state.</exception>
    public AdadeltaOptimizer(IReadOnlyList<ParameterGroup> groups, AdadeltaOptions? defaults = null)
        : this(groups, defaults, nameof(groups), nameof(defaults))
    {
    }

    // The names are the caller's arguments; there is no name for groups where it has given the parameters of the only one.
    private AdadeltaOptimizer(
        IReadOnlyList<ParameterGroup> groups, AdadeltaOptions? defaults, string groupsName, string defaultsName)
    {
        ArgumentNullException.ThrowIfNull(groups);
        if (groups.Count == 0)
        {
            throw new ArgumentOutOfRangeException(nameof(groups), "groups: 0, expected at least 1");
        }
        string[] names = [.. groups.Select((_, i) => groupsName.Length == 0 ? "" : $"{groupsName}[{i}]")];
        for (var i = 0; i < names.Length; i++)
        {
            Validate(groups[i], names[i]);
        }
        _context = groups[0].Parameters[0].Value.Context;
        var options = (defaults ?? new AdadeltaOptions()).ToNative();
        Status.ThrowIfFailed(
            NativeMethods.adn_adadelta_create(out _handle, _context.Handle, &options), $"options={defaultsName}");
        try
        {
            for (var i = 0; i < names.Length; i++)
            {
                AddGroup(groups[i], names[i], defaultsName);
            }
        }
        catch
        {
            _handle.Dispose();
            throw;
        }
    }

    /// <summary>Number of groups.</summary>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public int GroupCount
    {
        get
        {
            ulong count;
            Status.ThrowIfFailed(NativeMethods.adn_adadelta_get_group_count(&count, Handle));
            return checked((int)count);
        }
    }

    /// <summary>
    /// The learning rate, e.g. for a schedule: reading gives the first group's, writing sets every group's, where it stands
    /// (<see cref="SetLearningRate"/>).
    /// </summary>
    /// <exception cref="ArgumentException">The value is negative or no finite float32 number; no group has changed.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public double LearningRate
    {
        get => GetLearningRate();

        set
        {
            // The bound is the same for every group, so the first one refuses what any would.
            for (var group = 0; group < GroupCount; group++)
            {
                Status.ThrowIfFailed(
                    NativeMethods.adn_adadelta_set_lr(Handle, (ulong)group, value), $"lr={nameof(LearningRate)}");
            }
        }
    }

    /// <summary>Number of parameters over all groups.</summary>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public int ParameterCount
    {
        get
        {
            ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
            return _states.Count;
        }
    }

    /// <summary>What a step does beside the update; by default nothing.</summary>
    /// <exception cref="ArgumentException">A value is out of its bounds; nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public AdadeltaPassOptions PassOptions
    {
        get
        {
            adn_adadelta_pass_options options = default;
            options.struct_size = (uint)sizeof(adn_adadelta_pass_options);
            Status.ThrowIfFailed(NativeMethods.adn_adadelta_get_pass_options(&options, Handle));
            return new AdadeltaPassOptions
            {
                ZeroGradients = options.zero_gradients != 0,
                GradientScale = options.gradient_scale,
                ClipNorm = options.clip_norm,
                SkipNonfinite = options.skip_nonfinite != 0,
            };
        }

        set
        {
            ArgumentNullException.ThrowIfNull(value);
            var options = new adn_adadelta_pass_options
            {
                struct_size = (uint)sizeof(adn_adadelta_pass_options),
                zero_gradients = value.ZeroGradients ? 1 : 0,
                gradient_scale = value.GradientScale,
                clip_norm = value.ClipNorm,
                skip_nonfinite = value.SkipNonfinite ? 1 : 0,
            };
            Status.ThrowIfFailed(
                NativeMethods.adn_adadelta_set_pass_options(Handle, &options), $"options={nameof(PassOptions)}");
        }
    }

    /// <summary>What the last step found; on a device other than the CPU, reading it waits for the step.</summary>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public AdadeltaReport LastReport
    {
        get
        {
            adn_adadelta_report report = default;
            report.struct_size = (uint)sizeof(adn_adadelta_report);
            Status.ThrowIfFailed(NativeMethods.adn_adadelta_get_report(&report, Handle));
            return new(report.skipped != 0, report.norm);
        }
    }

    /// <summary>
    /// The largest number of steps that a parameter took part in, as PyTorch's <c>state["step"]</c>; setting it sets that of
    /// every parameter.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public long StepCount
    {
        get
        {
            ulong step;
            Status.ThrowIfFailed(NativeMethods.adn_adadelta_get_step(&step, Handle));
            return (long)step;
        }

        set => Status.ThrowIfFailed(NativeMethods.adn_adadelta_set_step(Handle, Require.StepCount(value, nameof(StepCount))));
    }

    internal AdadeltaHandle Handle
    {
        get
        {
            ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
            return _handle;
        }
    }

    /// <summary>Adds a group of parameters with zero state.</summary>
    /// <param name="group">The parameters, on the optimizer's context, and their settings.</param>
    /// <returns>The group's number, from 0.</returns>
    /// <exception cref="ArgumentException">
    /// A setting is out of its bounds, the group is empty, a parameter is in a group already, or contexts or shapes differ.
    /// </exception>
    /// <exception cref="InvalidOperationException">Another thread is using it; nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer or a parameter is disposed.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for its state.</exception>
    public int AddGroup(ParameterGroup group)
    {
        Validate(group, nameof(group));
        return AddGroup(group, nameof(group), "defaults");
    }

    /// <summary>Reads the settings of a group.</summary>
    /// <param name="group">Its number, from 0.</param>
    /// <returns>Its settings.</returns>
    /// <exception cref="ArgumentException">There is no such group.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public AdadeltaOptions GetOptions(int group = 0) => AdadeltaOptions.FromNative(GetNativeOptions(group));

    /// <summary>Changes the settings of a group; its state stays.</summary>
    /// <param name="options">Its new settings.</param>
    /// <param name="group">Its number, from 0.</param>
    /// <exception cref="ArgumentException">There is no such group, or a setting is out of its bounds.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using it; nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public void SetOptions(AdadeltaOptions options, int group = 0)
    {
        ArgumentNullException.ThrowIfNull(options);
        SetNativeOptions(options.ToNative(), group);
    }

    /// <summary>The parameters of a group, in the order they were given.</summary>
    /// <param name="group">Its number, from 0.</param>
    /// <returns>The parameters.</returns>
    /// <exception cref="ArgumentException">There is no such group.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public IReadOnlyList<Parameter> GetParameters(int group = 0)
    {
        ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
        return _groups[Require.InRange(group, _groups.Count)];
    }

    /// <summary>Replaces the gradient of a parameter. It allocates nothing, so that it may be called before every step.</summary>
    /// <param name="index">The parameter's index over all groups, in the order they were added.</param>
    /// <param name="gradient">
    /// A tensor of the parameter's shape and type; null is PyTorch's None: steps skip the parameter, its state and its count.
    /// </param>
    /// <exception cref="ArgumentException">There is no such parameter, or the tensor does not fit it.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using it; nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer or the tensor is disposed.</exception>
    public void SetGradient(int index, DeviceTensor? gradient)
    {
        var handle = Handle;
        Require.InRange(index, _states.Count);
        using var held = new HeldTensor(gradient);
        Status.ThrowIfFailed(NativeMethods.adn_adadelta_set_gradient(handle, (ulong)index, held.Pointer));
    }

    /// <summary>
    /// Makes a group read its learning rate from memory at the time of each step, so that a schedule or a captured graph sees
    /// changes. The value there is not checked.
    /// </summary>
    /// <param name="learningRate">
    /// A float32 or float64 tensor with one element, of any rank; null takes <see cref="AdadeltaOptions.LearningRate"/> again.
    /// </param>
    /// <param name="group">The group's number, from 0.</param>
    /// <exception cref="ArgumentException">There is no such group, or the tensor has more elements or another type.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using it; nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer or the tensor is disposed.</exception>
    public void SetLearningRateTensor(DeviceTensor? learningRate, int group = 0)
    {
        var handle = Handle;
        Require.InRange(group, _groups.Count);
        using var held = new HeldTensor(learningRate);
        Status.ThrowIfFailed(
            NativeMethods.adn_adadelta_set_lr_tensor(handle, (ulong)group, held.Pointer), "lr=learningRate");
    }

    /// <summary>
    /// The learning rate that a group's next step takes: the number in memory where <see cref="SetLearningRateTensor"/> has given
    /// one, else that of its options. On a device other than the CPU, memory is read after what the device was given before.
    /// </summary>
    /// <param name="group">The group's number, from 0.</param>
    /// <exception cref="ArgumentException">There is no such group.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public double GetLearningRate(int group = 0)
    {
        double rate;
        Status.ThrowIfFailed(NativeMethods.adn_adadelta_get_lr(&rate, Handle, (ulong)Require.InRange(group, _groups.Count)));
        return rate;
    }

    /// <summary>Sets the learning rate of a group where it stands: in memory, or in its options. It allocates nothing.</summary>
    /// <param name="learningRate">The rate, at least 0 and finite, also as a float32 number.</param>
    /// <param name="group">The group's number, from 0.</param>
    /// <exception cref="ArgumentException">There is no such group, or the rate is out of its bounds.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using it; nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public void SetLearningRate(double learningRate, int group = 0) => Status.ThrowIfFailed(
        NativeMethods.adn_adadelta_set_lr(Handle, (ulong)Require.InRange(group, _groups.Count), learningRate), "lr=learningRate");

    /// <summary>Updates every parameter of every group that has a gradient, in one pass. It allocates no managed memory.</summary>
    /// <exception cref="InvalidOperationException">Another thread is using it; nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public void Step() => Status.ThrowIfFailed(NativeMethods.adn_adadelta_step(Handle));

    /// <summary>The running averages of a parameter.</summary>
    /// <param name="index">Its index over all groups, in the order they were added.</param>
    /// <returns>Its state, which is disposed with the optimizer.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such parameter.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public AdadeltaState GetState(int index)
    {
        var handle = Handle;
        Require.InRange(index, _states.Count);
        if (_states[index] is not { } state)
        {
            Status.ThrowIfFailed(NativeMethods.adn_adadelta_get_state(
                out var squareAverage, out var accumulatedDelta, handle, (ulong)index));
            state = new AdadeltaState(
                new DeviceTensor(_context, squareAverage, owned: true), new DeviceTensor(_context, accumulatedDelta, owned: true));
            _states[index] = state;
        }
        return state;
    }

    /// <summary>The float32 copy of a 16-bit parameter that <see cref="AdadeltaOptions.MasterWeights"/> keeps.</summary>
    /// <param name="index">The parameter's index over all groups.</param>
    /// <returns>A view of the optimizer's storage, which the caller disposes, or null where there is none.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such parameter.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public DeviceTensor? GetMasterWeights(int index)
    {
        GetWeights(index, out var master, out var average);
        average.Dispose();
        return ToTensor(master);
    }

    /// <summary>The moving average of a parameter that <see cref="AdadeltaOptions.AverageDecay"/> keeps.</summary>
    /// <param name="index">The parameter's index over all groups.</param>
    /// <returns>A view of the optimizer's storage, which the caller disposes, or null where there is none.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such parameter.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public DeviceTensor? GetAverage(int index)
    {
        GetWeights(index, out var master, out var average);
        master.Dispose();
        return ToTensor(average);
    }

    /// <summary>Number of steps that a parameter took part in, PyTorch's <c>state["step"]</c>.</summary>
    /// <param name="index">The parameter's index over all groups.</param>
    /// <returns>The number.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such parameter.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public long GetStep(int index)
    {
        var handle = Handle;
        ulong step;
        Status.ThrowIfFailed(
            NativeMethods.adn_adadelta_get_parameter_step(&step, handle, (ulong)Require.InRange(index, _states.Count)));
        return (long)step;
    }

    /// <summary>Sets the number of steps that a parameter took part in.</summary>
    /// <param name="index">The parameter's index over all groups.</param>
    /// <param name="step">The number, at least 0.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such parameter, or the number is negative.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using it; nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public void SetStep(int index, long step)
    {
        var handle = Handle;
        Status.ThrowIfFailed(NativeMethods.adn_adadelta_set_parameter_step(
            handle, (ulong)Require.InRange(index, _states.Count), Require.StepCount(step)));
    }

    /// <summary>Steps that were recorded (<see cref="AdadeltaOptions.Differentiable"/>) whose <see cref="Backward"/> has not been taken.</summary>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public int RecordedSteps
    {
        get
        {
            ulong length;
            Status.ThrowIfFailed(NativeMethods.adn_adadelta_get_tape_length(&length, Handle));
            return checked((int)length);
        }
    }

    /// <summary>
    /// The derivative of the last recorded step, which is then forgotten: from the gradients of some function with respect to what
    /// the step wrote, those with respect to what it read. To go on to the step before, add to the parameters' gradients what reaches them through the loss
    /// whose gradient the step was given.
    /// </summary>
    /// <param name="cotangents">For each parameter over all groups; null for those that the step did not record.</param>
    /// <param name="learningRateGradients">For each group: the gradient with respect to its learning rate is added. Empty when not wanted.</param>
    /// <exception cref="ArgumentException">A number or a tensor does not fit; nothing has changed.</exception>
    /// <exception cref="InvalidOperationException">No step is recorded.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer or a tensor is disposed.</exception>
    public void Backward(IReadOnlyList<AdadeltaCotangent?> cotangents, Span<double> learningRateGradients = default)
    {
        ArgumentNullException.ThrowIfNull(cotangents);
        var handle = Handle;
        var held = new List<TensorHandle>(4 * cotangents.Count);
        try
        {
            var native = new adn_adadelta_cotangent[cotangents.Count];
            for (var i = 0; i < native.Length; i++)
            {
                if (cotangents[i] is { } one)
                {
                    native[i].parameter = Hold(one.Parameter, held);
                    native[i].gradient = Hold(one.Gradient, held);
                    native[i].square_avg = Hold(one.SquareAverage, held);
                    native[i].acc_delta = Hold(one.AccumulatedDelta, held);
                }
            }
            fixed (double* rates = learningRateGradients)
            fixed (adn_adadelta_cotangent* pointer = native)
            {
                Status.ThrowIfFailed(
                    NativeMethods.adn_adadelta_backward(
                        rates, (ulong)learningRateGradients.Length, handle, pointer, (ulong)native.Length),
                    "lr_count=learningRateGradients.Length;cotangent_count=cotangents.Count");
            }
        }
        finally
        {
            Release(held);
        }
    }

    /// <summary>Forgets the recorded steps.</summary>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public void ClearRecordedSteps() => Status.ThrowIfFailed(NativeMethods.adn_adadelta_clear_tape(Handle));

    /// <summary>Gives the state's memory back. The parameters stay as they are.</summary>
    public void Dispose()
    {
        foreach (var state in _states)
        {
            state?.SquareAverage.Close();
            state?.AccumulatedDelta.Close();
        }
        _handle.Dispose();
    }

    // A name of "" is that of the only group, whose parameters the caller has given.
    private static void Validate(ParameterGroup group, string name)
    {
        if (group is null)
        {
            throw new ArgumentNullException(name, $"{name}: null");
        }
        var parameters = ParametersName(name);
        if (group.Parameters is null)
        {
            throw new ArgumentNullException(parameters, $"{parameters}: null");
        }
        if (group.Parameters.Count == 0)
        {
            throw new ArgumentOutOfRangeException(parameters, $"{parameters}: 0, expected at least 1");
        }
        for (var i = 0; i < group.Parameters.Count; i++)
        {
            if (group.Parameters[i] is null)
            {
                throw new ArgumentNullException($"{parameters}[{i}]", $"{parameters}[{i}]: null");
            }
            if (!group.Parameters[i].HasGradient)
            {
                throw new ArgumentException(
                    $"{parameters}[{i}]: {group.Parameters[i].Name} of a network for inference, expected one with a gradient",
                    $"{parameters}[{i}]");
            }
        }
    }

    private static string ParametersName(string group) => group.Length == 0 ? "parameters" : $"{group}.Parameters";

    private int AddGroup(ParameterGroup group, string name, string defaultsName)
    {
        var handle = Handle;
        var count = group.Parameters.Count;
        // Held from here on, so that no tensor goes away under the call.
        var held = new List<TensorHandle>(2 * count);
        try
        {
            var values = new nint[count];
            var gradients = new nint[count];
            for (var i = 0; i < count; i++)
            {
                values[i] = Hold(group.Parameters[i].Value, held);
                gradients[i] = Hold(group.Parameters[i].Gradient, held);
            }
            _states.EnsureCapacity(_states.Count + count);
            _groups.EnsureCapacity(_groups.Count + 1);
            var options = (group.Options ?? new AdadeltaOptions()).ToNative();
            var parameters = ParametersName(name);
            var optionsName = group.Options is null ? defaultsName : $"{name}.Options";
            ulong index;
            fixed (nint* valuesPointer = values, gradientsPointer = gradients)
            {
                Status.ThrowIfFailed(
                    NativeMethods.adn_adadelta_add_group(
                        &index, handle, valuesPointer, gradientsPointer, (ulong)count, group.Options is null ? null : &options),
                    $"parameters={parameters};gradients={parameters}[].Gradient;options={optionsName}");
            }
            CollectionsMarshal.SetCount(_states, _states.Count + count);
            _groups.Add([.. group.Parameters]);
            handle.Holds(2 * sizeof(float) * group.Parameters.Sum(parameter => parameter.Value.Count));
            return (int)index;
        }
        finally
        {
            Release(held);
        }
    }

    // Keeps a tensor that may be missing from going away under a call.
    private readonly ref struct HeldTensor
    {
        private readonly TensorHandle? _handle;

        internal HeldTensor(DeviceTensor? tensor)
        {
            if (tensor is not null)
            {
                var added = false;
                tensor.Handle.DangerousAddRef(ref added);
                _handle = tensor.Handle;
                Pointer = _handle.DangerousGetHandle();
            }
        }

        internal nint Pointer { get; }

        public void Dispose() => _handle?.DangerousRelease();
    }

    private static void Release(List<TensorHandle> held)
    {
        foreach (var tensor in held)
        {
            tensor.DangerousRelease();
        }
    }

    private void GetWeights(int index, out TensorHandle master, out TensorHandle average)
    {
        var handle = Handle;
        Status.ThrowIfFailed(NativeMethods.adn_adadelta_get_weights(
            out master, out average, handle, (ulong)Require.InRange(index, _states.Count)));
    }

    private DeviceTensor? ToTensor(TensorHandle tensor) => tensor.IsInvalid ? null : new DeviceTensor(_context, tensor);

    // What a caller left out against its type reaches the native side as NULL, which names it.
    private static nint Hold(DeviceTensor? tensor, List<TensorHandle> held)
    {
        if (tensor is null)
        {
            return 0;
        }
        var handle = tensor.Handle;
        var added = false;
        handle.DangerousAddRef(ref added);
        held.Add(handle);
        return handle.DangerousGetHandle();
    }

    private adn_adadelta_options GetNativeOptions(int group)
    {
        adn_adadelta_options options = default;
        options.struct_size = (uint)sizeof(adn_adadelta_options);
        Status.ThrowIfFailed(NativeMethods.adn_adadelta_get_options(
            &options, Handle, (ulong)Require.InRange(group, GroupCount)));
        return options;
    }

    private void SetNativeOptions(adn_adadelta_options options, int group) =>
        Status.ThrowIfFailed(NativeMethods.adn_adadelta_set_options(
            Handle, (ulong)Require.InRange(group, GroupCount), &options));
}
