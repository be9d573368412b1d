using System.Runtime.InteropServices;
using Adadelta.Native.Interop;

namespace Adadelta.Native;

/// <summary>
/// A feed-forward network with a softmax cross-entropy loss, planned once for a largest batch: forward, backward and step
/// allocate nothing. Made by <see cref="NetworkBuilder"/>.
/// </summary>
/// <remarks>
/// <para>
/// Spans are used only until the call returns. What fails has changed nothing. The same seed and inputs give the same bits
/// whatever the number of threads.
/// </para>
/// <para>
/// A network, the tensors of its <see cref="Parameters"/> and every optimizer that was given one of them count as one object:
/// while a thread runs a call on one of these, a call on another thread gives an <see cref="InvalidOperationException"/> and
/// changes nothing. Different networks may be used by different threads, also on one context. A copy for another thread is made
/// by <see cref="CreateInference"/> or <see cref="Clone"/> and renewed by <see cref="CopyParametersFrom"/>; these wait for the call
/// that runs. Properties that never change, and <see cref="Step"/>, may be read by any thread, and the network may be disposed by
/// any: a call that runs is finished first.
/// </para>
/// </remarks>
public sealed unsafe class Network : IDisposable
{
    /// <summary>Losses of the last training steps that a network keeps for <see cref="ReadLosses"/>.</summary>
    public const int LossCapacity = NativeMethods.ADN_LOSS_HISTORY;

    private readonly NetworkHandle _handle;
    private readonly ComputeContext _context;
    private readonly ImageShape _inputShape;
    private readonly int _outputCount;
    private readonly int _maxBatchSize;
    private readonly long _memoryBytes;
    private readonly Reduction _reduction;
    private readonly ulong _seed;
    private readonly bool _isInference;
    private readonly List<LayerInfo> _layers = [];
    private readonly List<Parameter> _parameters = [];

    internal Network(ComputeContext context, NetworkHandle handle, ulong seed, bool isInference)
    {
        _context = context;
        _seed = seed;
        _isInference = isInference;
        _handle = handle;
        try
        {
            adn_network_info info = default;
            info.struct_size = (uint)sizeof(adn_network_info);
            Status.ThrowIfFailed(NativeMethods.adn_network_get_info(&info, handle));
            _inputShape = ToImageShape(info.input_shape);
            _maxBatchSize = (int)info.max_batch_size;
            _memoryBytes = (long)info.memory_bytes;
            _reduction = (Reduction)info.reduction;
            _handle.Holds(_memoryBytes);
            for (ulong i = 0; i < info.layer_count; i++)
            {
                _layers.Add(GetLayer(i));
            }
            for (ulong i = 0; i < info.parameter_count; i++)
            {
                _parameters.Add(GetParameter(i));
            }
            _outputCount = (int)info.output_count;
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The context that the network was made on.</summary>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public ComputeContext Context => Live()._context;

    /// <summary>Shape of one input image.</summary>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public ImageShape InputShape => Live()._inputShape;

    /// <summary>Number of outputs (logits) for an image.</summary>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public int OutputCount => Live()._outputCount;

    /// <summary>Largest batch that the network was planned for.</summary>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public int MaxBatchSize => Live()._maxBatchSize;

    /// <summary>Seed that the initial weights were drawn from and that dropout draws from.</summary>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public ulong Seed => Live()._seed;

    /// <summary>
    /// Whether the network was made for inference (<see cref="CreateInference"/>): it has no gradients, and runs forward in
    /// evaluation alone.
    /// </summary>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public bool IsInference => Live()._isInference;

    /// <summary>Bytes held by parameters, gradients, activations and workspaces.</summary>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public long MemoryBytes => Live()._memoryBytes;

    /// <summary>How the loss of a batch is made from those of its images.</summary>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public Reduction Reduction => Live()._reduction;

    /// <summary>The parameters in the order of the layers, weight before bias. They are disposed with the network.</summary>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public IReadOnlyList<Parameter> Parameters => Live()._parameters.AsReadOnly();

    /// <summary>The layers, first to last.</summary>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public IReadOnlyList<LayerInfo> Layers => Live()._layers.AsReadOnly();

    /// <summary>
    /// Number of forward passes in training so far. With the seed it determines what dropout draws next, so setting it, and
    /// the parameters, resumes a run exactly.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative.</exception>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public long Step
    {
        get
        {
            ulong step;
            Status.ThrowIfFailed(NativeMethods.adn_network_get_step(&step, Handle));
            return (long)step;
        }

        set => Status.ThrowIfFailed(
            NativeMethods.adn_network_set_step(Handle, Require.AtLeast(0, value, nameof(Step))), "step=Step");
    }

    private NetworkHandle Handle => Live()._handle;

    /// <summary>
    /// Makes a network of the same layers, with the parameters and the step that this one has between two calls, on the same
    /// context. It shares nothing with this one, so that another thread may use it. A call that runs on this network is waited for.
    /// </summary>
    /// <param name="maxBatchSize">Its largest batch, at least 1; null takes that of this network.</param>
    /// <returns>The copy, which the caller disposes.</returns>
    /// <exception cref="ArgumentException">The batch size is out of its bounds.</exception>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for it.</exception>
    public Network Clone(int? maxBatchSize = null) => Copy(maxBatchSize, _isInference);

    /// <summary>
    /// Makes a copy as <see cref="Clone"/> does, for forward passes in evaluation alone: without the memory that gradients and
    /// the backward pass take. To serve predictions while this network is trained, give each thread a copy, or let the threads
    /// take turns on one; <see cref="CopyParametersFrom"/> renews it.
    /// </summary>
    /// <param name="maxBatchSize">Its largest batch, at least 1; null takes that of this network.</param>
    /// <returns>The copy, which the caller disposes.</returns>
    /// <exception cref="ArgumentException">The batch size is out of its bounds.</exception>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for it.</exception>
    public Network CreateInference(int? maxBatchSize = null) => Copy(maxBatchSize, isInference: true);

    /// <summary>
    /// Sets the parameters and the step to those that another network has between two calls, so that they are those of one whole
    /// step, also while another thread trains it. A call that runs on <paramref name="source"/> is waited for; so is this copy by
    /// the next call there.
    /// </summary>
    /// <param name="source">A network with parameters of the same names and shapes, on whichever context.</param>
    /// <exception cref="ArgumentException">Its parameters are others; nothing has changed.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using this network; nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">One of the networks is disposed.</exception>
    public void CopyParametersFrom(Network source)
    {
        ArgumentNullException.ThrowIfNull(source);
        var handle = Handle;
        if (ReferenceEquals(source, this))
        {
            return;
        }
        Status.ThrowIfFailed(NativeMethods.adn_network_copy_parameters(handle, source.Handle), "from=source;to=network");
    }

    /// <summary>Finds a parameter by its name.</summary>
    /// <param name="name">Its name, e.g. <c>conv1.weight</c>.</param>
    /// <returns>The parameter, which is disposed with the network.</returns>
    /// <exception cref="ArgumentException">The network has no parameter of that name; the message lists those it has.</exception>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public Parameter GetParameter(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return Parameters.FirstOrDefault(parameter => parameter.Name == name)
            ?? throw new ArgumentException(
                $"name: \"{name}\", expected one of {string.Join(", ", _parameters.Select(parameter => parameter.Name))}", nameof(name));
    }

    /// <summary>Forward pass over a batch.</summary>
    /// <param name="input">
    /// The images, [batch, channels, height, width] in row-major order. Its length sets the batch size, from 1 to
    /// <see cref="MaxBatchSize"/>.
    /// </param>
    /// <param name="output">Takes the logits, [batch, <see cref="OutputCount"/>]; empty when they are not wanted.</param>
    /// <param name="training">
    /// True: dropout draws, and what <see cref="Backward()"/> needs is kept. False: dropout is the identity, and no backward
    /// pass may follow.
    /// </param>
    /// <exception cref="ArgumentException">A length does not fit, or the batch is larger than <see cref="MaxBatchSize"/>.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the network, or it was made for inference and this is training; nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public void Forward(ReadOnlySpan<float> input, Span<float> output, bool training = false)
    {
        var handle = Handle;
        var image = _inputShape.Count;
        var batchSize = input.Length / image;
        if (batchSize * image != input.Length)
        {
            throw new ArgumentException(
                $"input.Length: {input.Length}, expected a multiple of {image}, the elements of an image {_inputShape}", nameof(input));
        }
        fixed (float* inputPointer = input, outputPointer = output)
        {
            Status.ThrowIfFailed(
                NativeMethods.adn_network_forward(
                    outputPointer, (ulong)output.Length, handle, inputPointer, (ulong)input.Length, (ulong)batchSize, Mode(training)),
                "batch_size=input (batch size);input_count=input.Length;output_total=output.Length;mode=training");
        }
    }

    /// <summary>Forward pass over images of a data set on the device.</summary>
    /// <param name="dataset">The data set, on the network's context; its images have the shape of the network's input.</param>
    /// <param name="indices">Indices into the data set; their number, from 1 to <see cref="MaxBatchSize"/>, is the batch size.</param>
    /// <param name="output">Takes the logits, [batch, <see cref="OutputCount"/>]; empty when they are not wanted.</param>
    /// <param name="training">As in the other overload.</param>
    /// <exception cref="ArgumentException">A length, an index or the data set does not fit.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the network, or it was made for inference and this is training; nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The network or the data set is disposed.</exception>
    public void Forward(DeviceDataset dataset, ReadOnlySpan<uint> indices, Span<float> output, bool training = false)
    {
        ArgumentNullException.ThrowIfNull(dataset);
        fixed (uint* indicesPointer = indices)
        fixed (float* outputPointer = output)
        {
            Status.ThrowIfFailed(
                NativeMethods.adn_network_forward_dataset(
                    outputPointer, (ulong)output.Length, Handle, dataset.Handle, indicesPointer, (ulong)indices.Length, Mode(training)),
                "batch_size=indices.Length;output_total=output.Length;mode=training");
        }
    }

    /// <summary>Forward pass over images in the device's memory that belong to the host program.</summary>
    /// <param name="input">
    /// Address of the images, [batch, channels, height, width]: a device pointer on CUDA, any on the CPU, aligned to 4
    /// bytes. They must be there, in the order of the context's stream, until the pass has run.
    /// </param>
    /// <param name="batchSize">Number of images, from 1 to <see cref="MaxBatchSize"/>.</param>
    /// <param name="output">Takes the logits, [batch, <see cref="OutputCount"/>]; empty when they are not wanted.</param>
    /// <param name="training">As in the other overloads.</param>
    /// <exception cref="ArgumentException">A length does not fit, or the address is not the device's.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the network, or it was made for inference and this is training; nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public void ForwardExternal(nint input, int batchSize, Span<float> output, bool training = false)
    {
        var handle = Handle;
        fixed (float* outputPointer = output)
        {
            Status.ThrowIfFailed(
                NativeMethods.adn_network_forward_external(
                    outputPointer, (ulong)output.Length, handle, (float*)input, InputCount(batchSize), (ulong)batchSize, Mode(training)),
                "input_external=input;external memory=input;output_total=output.Length;mode=training");
        }
    }

    /// <summary>Softmax cross-entropy of the last forward pass.</summary>
    /// <param name="labels">The class of each image of the batch, 0 &lt;= label &lt; <see cref="OutputCount"/>.</param>
    /// <returns>The loss, in nats, reduced over the batch as <see cref="Reduction"/> says.</returns>
    /// <exception cref="ArgumentException">A label is out of range, or their number is not the batch size.</exception>
    /// <exception cref="InvalidOperationException">There was no forward pass.</exception>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public float Loss(ReadOnlySpan<int> labels)
    {
        float loss;
        fixed (int* pointer = labels)
        {
            Status.ThrowIfFailed(
                NativeMethods.adn_network_loss(&loss, Handle, pointer, (ulong)labels.Length), "label_count=labels.Length");
        }
        return loss;
    }

    /// <summary>Backward pass from the last <see cref="Loss"/>. Gradients are overwritten, not added to.</summary>
    /// <exception cref="InvalidOperationException">There was no forward pass in training, or no loss after it.</exception>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public void Backward() => Status.ThrowIfFailed(
        NativeMethods.adn_network_backward(Handle, null, 0), "output_gradient=outputGradient");

    /// <summary>Backward pass from a gradient with respect to the network's output. Gradients are overwritten, not added to.</summary>
    /// <param name="outputGradient">The gradient, [batch, <see cref="OutputCount"/>].</param>
    /// <exception cref="ArgumentException">Its length does not fit the last forward pass.</exception>
    /// <exception cref="InvalidOperationException">There was no forward pass in training.</exception>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public void Backward(ReadOnlySpan<float> outputGradient)
    {
        var handle = Handle;
        // To the native side nothing means "from the loss", which is the other overload.
        if (outputGradient.IsEmpty)
        {
            throw new ArgumentException(
                $"outputGradient.Length: 0, expected the batch size times {_outputCount}", nameof(outputGradient));
        }
        fixed (float* pointer = outputGradient)
        {
            Status.ThrowIfFailed(
                NativeMethods.adn_network_backward(handle, pointer, (ulong)outputGradient.Length),
                "output_gradient_count=outputGradient.Length");
        }
    }

    /// <summary>
    /// One whole training step in one native call: forward pass, loss, backward pass, update. It allocates no managed memory.
    /// </summary>
    /// <param name="optimizer">Updates the parameters; it must stand on the network's context.</param>
    /// <param name="input">The images, [batch, channels, height, width] in row-major order.</param>
    /// <param name="labels">The class of each image; their number, from 1 to <see cref="MaxBatchSize"/>, is the batch size.</param>
    /// <returns>The loss before the update, in nats, reduced over the batch as <see cref="Reduction"/> says.</returns>
    /// <exception cref="ArgumentException">A length or a label is out of its bounds, or the contexts differ; nothing has changed.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the network or the optimizer, or it was made for inference; nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The network or the optimizer is disposed.</exception>
    public float TrainStep(AdadeltaOptimizer optimizer, ReadOnlySpan<float> input, ReadOnlySpan<int> labels)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        float loss;
        fixed (float* inputPointer = input)
        fixed (int* labelsPointer = labels)
        {
            Status.ThrowIfFailed(
                NativeMethods.adn_network_train_step(
                    &loss, Handle, optimizer.Handle, inputPointer, (ulong)input.Length, labelsPointer, (ulong)labels.Length),
                "batch_size=labels.Length;input_count=input.Length;train_step=TrainStep");
        }
        return loss;
    }

    /// <summary>One whole training step over images of a data set on the device, with its labels.</summary>
    /// <param name="optimizer">Updates the parameters; it must stand on the network's context.</param>
    /// <param name="dataset">The data set, on the network's context; its images have the shape of the network's input.</param>
    /// <param name="indices">Indices into the data set; their number, from 1 to <see cref="MaxBatchSize"/>, is the batch size.</param>
    /// <returns>The loss before the update, in nats, reduced over the batch as <see cref="Reduction"/> says.</returns>
    /// <exception cref="ArgumentException">An index, its label or the data set does not fit; nothing has changed.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the network or the optimizer, or it was made for inference; nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The network, the optimizer or the data set is disposed.</exception>
    public float TrainStep(AdadeltaOptimizer optimizer, DeviceDataset dataset, ReadOnlySpan<uint> indices)
    {
        float loss;
        TrainStep(&loss, optimizer, dataset, indices);
        return loss;
    }

    /// <summary>
    /// Gives one whole training step to the device and does not wait for it; <see cref="ReadLosses"/> gives its loss later. On the
    /// CPU the step is done when this returns.
    /// </summary>
    /// <param name="optimizer">Updates the parameters; it must stand on the network's context.</param>
    /// <param name="dataset">The data set, on the network's context; its images have the shape of the network's input.</param>
    /// <param name="indices">Indices into the data set; their number, from 1 to <see cref="MaxBatchSize"/>, is the batch size.</param>
    /// <exception cref="ArgumentException">An index, its label or the data set does not fit; nothing has changed.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the network or the optimizer, or it was made for inference; nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The network, the optimizer or the data set is disposed.</exception>
    public void QueueTrainStep(AdadeltaOptimizer optimizer, DeviceDataset dataset, ReadOnlySpan<uint> indices) =>
        TrainStep(null, optimizer, dataset, indices);

    /// <summary>One whole training step over images in the device's memory that belong to the host program.</summary>
    /// <param name="optimizer">Updates the parameters; it must stand on the network's context.</param>
    /// <param name="input">As for <see cref="ForwardExternal"/>.</param>
    /// <param name="labels">The class of each image; their number, from 1 to <see cref="MaxBatchSize"/>, is the batch size.</param>
    /// <returns>The loss before the update, in nats, reduced over the batch as <see cref="Reduction"/> says.</returns>
    /// <exception cref="ArgumentException">A length or a label is out of its bounds, or the address is not the device's.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the network or the optimizer, or it was made for inference; nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The network or the optimizer is disposed.</exception>
    public float TrainStepExternal(AdadeltaOptimizer optimizer, nint input, ReadOnlySpan<int> labels)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        float loss;
        fixed (int* labelsPointer = labels)
        {
            Status.ThrowIfFailed(
                NativeMethods.adn_network_train_step_external(
                    &loss, Handle, optimizer.Handle, (float*)input, InputCount(labels.Length), labelsPointer, (ulong)labels.Length),
                "batch_size=labels.Length;input_external=input;external memory=input;train_step=TrainStepExternal");
        }
        return loss;
    }

    /// <summary>The losses of the last training steps, the oldest first. Waits until they are there.</summary>
    /// <param name="losses">Takes the losses; as many steps must have been taken, at most <see cref="LossCapacity"/>.</param>
    /// <exception cref="ArgumentException">It is longer.</exception>
    /// <exception cref="AdadeltaNativeException">The device failed.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using it; nothing has changed.</exception>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public void ReadLosses(Span<float> losses)
    {
        fixed (float* pointer = losses)
        {
            Status.ThrowIfFailed(
                NativeMethods.adn_network_read_losses(pointer, (ulong)losses.Length, Handle), "count=losses.Length");
        }
    }

    /// <summary>Reads the loss's gradient with respect to the input of the last backward pass.</summary>
    /// <param name="destination">Takes the gradient, [batch, channels, height, width].</param>
    /// <exception cref="ArgumentException">Its length does not fit the last batch.</exception>
    /// <exception cref="InvalidOperationException">The network was built without it, or there was no backward pass.</exception>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public void ReadInputGradient(Span<float> destination)
    {
        fixed (float* pointer = destination)
        {
            Status.ThrowIfFailed(
                NativeMethods.adn_network_read_input_gradient(pointer, (ulong)destination.Length, Handle),
                "count=destination.Length;options.input_gradient=inputGradient");
        }
    }

    /// <summary>Reads a layer's output in the last forward pass.</summary>
    /// <param name="layer">Its index in <see cref="Layers"/>.</param>
    /// <param name="destination">Takes the output, [batch, channels, height, width] of its <see cref="LayerInfo.OutputShape"/>.</param>
    /// <exception cref="ArgumentException">There is no such layer, or the length does not fit the last batch.</exception>
    /// <exception cref="InvalidOperationException">There was no forward pass.</exception>
    /// <exception cref="NotSupportedException">The output is never written: <see cref="LayerInfo.HasActivation"/> is false.</exception>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    public void ReadActivation(int layer, Span<float> destination)
    {
        var handle = Handle;
        Require.InRange(layer, _layers.Count);
        fixed (float* pointer = destination)
        {
            Status.ThrowIfFailed(
                NativeMethods.adn_network_read_activation(pointer, (ulong)destination.Length, handle, (ulong)layer),
                "count=destination.Length");
        }
    }

    /// <summary>Gives the memory back and disposes <see cref="Parameters"/>. An optimizer that was given them keeps working.</summary>
    public void Dispose()
    {
        foreach (var parameter in _parameters)
        {
            parameter.Close();
        }
        _handle.Dispose();
    }

    private Network Copy(int? maxBatchSize, bool isInference)
    {
        var live = Live();
        var batch = maxBatchSize is { } size ? Require.AtLeast(1, size, nameof(maxBatchSize)) : 0;
        Status.ThrowIfFailed(
            NativeMethods.adn_network_clone(out var handle, live._handle, batch, isInference ? 1 : 0),
            "max_batch_size=maxBatchSize;options.max_batch_size=maxBatchSize");
        return new Network(live._context, handle, live._seed, isInference);
    }

    private static int Mode(bool training) => training ? NativeMethods.ADN_MODE_TRAIN : NativeMethods.ADN_MODE_EVALUATE;

    private ulong InputCount(int batchSize) => Require.AtLeast(0, batchSize) * (ulong)_inputShape.Count;

    private void TrainStep(float* loss, AdadeltaOptimizer optimizer, DeviceDataset dataset, ReadOnlySpan<uint> indices)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        ArgumentNullException.ThrowIfNull(dataset);
        fixed (uint* pointer = indices)
        {
            Status.ThrowIfFailed(
                NativeMethods.adn_network_train_step_dataset(
                    loss, Handle, optimizer.Handle, dataset.Handle, pointer, (ulong)indices.Length),
                "batch_size=indices.Length;labels=indices[] (label);train_step=TrainStep");
        }
    }

    private static ImageShape ToImageShape(ulong* extents) => new((int)extents[0], (int)extents[1], (int)extents[2]);

    private LayerInfo GetLayer(ulong index)
    {
        adn_layer_info info = default;
        info.struct_size = (uint)sizeof(adn_layer_info);
        Status.ThrowIfFailed(NativeMethods.adn_network_get_layer(&info, _handle, index));
        var name = Marshal.PtrToStringUTF8((nint)info.name) ?? "";
        Require.Elements(
            (UInt128)info.output_shape[0] * info.output_shape[1] * info.output_shape[2], name,
            $"layer {name} ({(LayerKind)info.kind}): output");
        return new LayerInfo(
            name, (LayerKind)info.kind, ToImageShape(info.output_shape), (long)info.parameter_elements, info.has_activation != 0);
    }

    private Parameter GetParameter(ulong index)
    {
        byte* name;
        Status.ThrowIfFailed(NativeMethods.adn_network_get_parameter(out var value, out var gradient, &name, _handle, index));
        var text = Marshal.PtrToStringUTF8((nint)name) ?? "";
        var tensor = new DeviceTensor(_context, value, owned: true);
        return gradient.IsInvalid
            ? new Parameter(text, tensor)
            : new Parameter(text, tensor, new DeviceTensor(_context, gradient, owned: true));
    }

    private Network Live()
    {
        ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
        return this;
    }
}
