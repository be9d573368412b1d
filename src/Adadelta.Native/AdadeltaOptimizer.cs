using System.Runtime.InteropServices;
using Adadelta.Native.Interop;

namespace Adadelta.Native;

/// <summary>
/// Adadelta as <c>torch.optim.Adadelta</c> defines it (Zeiler, arXiv 1212.5701), over all parameters in one pass. For each
/// element: g = -g if maximize; g += weight_decay·p; v = rho·v + (1-rho)·g²; d = sqrt(u+eps)/sqrt(v+eps)·g;
/// u = rho·u + (1-rho)·d²; p -= lr·d.
/// </summary>
/// <remarks>
/// It keeps the parameters' memory alive, so that it and their network may be disposed in any order. One object must not be
/// used by two threads at once; different objects may.
/// </remarks>
public sealed unsafe class AdadeltaOptimizer : IDisposable
{
    private readonly AdadeltaHandle _handle;
    private readonly ComputeContext _context;
    private readonly List<AdadeltaState?> _states = [];

    /// <summary>Makes an optimizer with one group.</summary>
    /// <param name="parameters">What it trains, at least one, all on one context.</param>
    /// <param name="options">Its settings; null takes PyTorch's defaults.</param>
    /// <exception cref="ArgumentException">
    /// A setting is out of its bounds, there is no parameter, one is given twice, or contexts or shapes differ.
    /// </exception>
    /// <exception cref="ObjectDisposedException">A parameter or its context is disposed.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for its state.</exception>
    public AdadeltaOptimizer(IReadOnlyList<Parameter> parameters, AdadeltaOptions? options = null)
        : this([new ParameterGroup(parameters)], options)
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
    {
        ArgumentNullException.ThrowIfNull(groups);
        if (groups.Count == 0)
        {
            throw new ArgumentException("groups: 0, expected at least 1", nameof(groups));
        }
        foreach (var group in groups)
        {
            Validate(group, nameof(groups));
        }
        _context = groups[0].Parameters[0].Value.Context;
        var options = ToNative(defaults ?? new AdadeltaOptions());
        Status.ThrowIfFailed(NativeMethods.adn_adadelta_create(out _handle, _context.Handle, &options));
        try
        {
            foreach (var group in groups)
            {
                AddGroup(group);
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
            return (int)count;
        }
    }

    /// <summary>The learning rate, e.g. for a schedule: reading gives the first group's, writing sets every group's.</summary>
    /// <exception cref="ArgumentException">The value is negative or not finite; no group has changed.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public double LearningRate
    {
        get => GetNativeOptions(0).lr;

        set
        {
            // The bound is the same for every group, so the first one refuses what any would.
            for (var group = 0; group < GroupCount; group++)
            {
                var options = GetNativeOptions(group);
                options.lr = value;
                SetNativeOptions(options, group);
            }
        }
    }

    /// <summary>Number of steps taken, as PyTorch's <c>state["step"]</c>.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public long StepCount
    {
        get
        {
            ulong step;
            Status.ThrowIfFailed(NativeMethods.adn_adadelta_get_step(&step, Handle));
            return checked((long)step);
        }

        set => Status.ThrowIfFailed(NativeMethods.adn_adadelta_set_step(Handle, Require.AtLeast(0, value, nameof(StepCount))));
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
    /// <exception cref="ObjectDisposedException">The optimizer or a parameter is disposed.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for its state.</exception>
    public int AddGroup(ParameterGroup group)
    {
        Validate(group, nameof(group));
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
                values[i] = Hold(group.Parameters[i].Value.Handle, held);
                gradients[i] = Hold(group.Parameters[i].Gradient.Handle, held);
            }
            _states.EnsureCapacity(_states.Count + count);
            var options = ToNative(group.Options ?? new AdadeltaOptions());
            ulong index;
            fixed (nint* valuesPointer = values, gradientsPointer = gradients)
            {
                Status.ThrowIfFailed(NativeMethods.adn_adadelta_add_group(
                    &index, handle, valuesPointer, gradientsPointer, (ulong)count, group.Options is null ? null : &options));
            }
            CollectionsMarshal.SetCount(_states, _states.Count + count);
            handle.Holds(2 * sizeof(float) * group.Parameters.Sum(parameter => parameter.Value.Count));
            return (int)index;
        }
        finally
        {
            foreach (var tensor in held)
            {
                tensor.DangerousRelease();
            }
        }
    }

    /// <summary>Reads the settings of a group.</summary>
    /// <param name="group">Its number, from 0.</param>
    /// <returns>Its settings.</returns>
    /// <exception cref="ArgumentException">There is no such group.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public AdadeltaOptions GetOptions(int group = 0)
    {
        var options = GetNativeOptions(group);
        return new AdadeltaOptions
        {
            LearningRate = options.lr,
            Rho = options.rho,
            Eps = options.eps,
            WeightDecay = options.weight_decay,
            Maximize = options.maximize != 0,
        };
    }

    /// <summary>Changes the settings of a group; its state stays.</summary>
    /// <param name="options">Its new settings.</param>
    /// <param name="group">Its number, from 0.</param>
    /// <exception cref="ArgumentException">There is no such group, or a setting is out of its bounds.</exception>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public void SetOptions(AdadeltaOptions options, int group = 0)
    {
        ArgumentNullException.ThrowIfNull(options);
        SetNativeOptions(ToNative(options), group);
    }

    /// <summary>Updates every parameter of every group from its gradient, in one pass.</summary>
    /// <exception cref="ObjectDisposedException">The optimizer is disposed.</exception>
    public void Step() => Status.ThrowIfFailed(NativeMethods.adn_adadelta_step(Handle));

    /// <summary>The running averages of a parameter.</summary>
    /// <param name="index">Its place over all groups, in the order they were added.</param>
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
            state = new AdadeltaState(new Tensor(_context, squareAverage), new Tensor(_context, accumulatedDelta));
            _states[index] = state;
        }
        return state;
    }

    /// <summary>Gives the state's memory back. The parameters stay as they are.</summary>
    public void Dispose()
    {
        foreach (var state in _states)
        {
            state?.SquareAverage.Dispose();
            state?.AccumulatedDelta.Dispose();
        }
        _handle.Dispose();
    }

    private static void Validate(ParameterGroup group, string name)
    {
        ArgumentNullException.ThrowIfNull(group, name);
        ArgumentNullException.ThrowIfNull(group.Parameters, "parameters");
        if (group.Parameters.Count == 0)
        {
            throw new ArgumentException("parameters: 0, expected at least 1", name);
        }
    }

    private static nint Hold(TensorHandle tensor, List<TensorHandle> held)
    {
        var added = false;
        tensor.DangerousAddRef(ref added);
        held.Add(tensor);
        return tensor.DangerousGetHandle();
    }

    private static adn_adadelta_options ToNative(AdadeltaOptions options)
    {
        adn_adadelta_options native;
        Status.ThrowIfFailed(NativeMethods.adn_adadelta_options_init(&native, (uint)sizeof(adn_adadelta_options)));
        native.lr = options.LearningRate;
        native.rho = options.Rho;
        native.eps = options.Eps;
        native.weight_decay = options.WeightDecay;
        native.maximize = options.Maximize ? 1 : 0;
        return native;
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
