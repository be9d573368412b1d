using Adadelta.Native.Interop;

namespace Adadelta.Native;

/// <summary>
/// What becomes of 0/0, which an <see cref="AdadeltaOptions.Eps"/> of 0 makes where a gradient has always been 0.
/// </summary>
public enum ZeroEps
{
    /// <summary>The parameter becomes NaN, as in PyTorch.</summary>
    NaN = 0,

    /// <summary>Options with an eps of 0 are refused.</summary>
    Refuse = 1,

    /// <summary>The parameter stays as it is.</summary>
    Keep = 2,
}

/// <summary>Settings of Adadelta, for one group of parameters; the defaults are those of <c>torch.optim.Adadelta</c>.</summary>
public sealed record AdadeltaOptions
{
    /// <summary>Settings of <c>torch.optim.Adadelta</c>, which are the defaults: lr 1, rho 0.9, eps 1e-6.</summary>
    public static AdadeltaOptions PyTorch { get; } = Preset(NativeMethods.ADN_PRESET_PYTORCH);

    /// <summary>Settings of the paper (Zeiler, arXiv 1212.5701, section 4.1), which knows no lr: lr 1, rho 0.95, eps 1e-6.</summary>
    public static AdadeltaOptions Paper2012 { get; } = Preset(NativeMethods.ADN_PRESET_PAPER2012);

    /// <summary>Settings of <c>keras.optimizers.Adadelta</c> in Keras 3: lr 0.001, rho 0.95, eps 1e-7.</summary>
    public static AdadeltaOptions Keras { get; } = Preset(NativeMethods.ADN_PRESET_KERAS);

    /// <summary>Factor on the update, finite and at least 0.</summary>
    public double LearningRate { get; init; } = 1.0;

    /// <summary>Weight of the past in both running averages, 0 to 1.</summary>
    public double Rho { get; init; } = 0.9;

    /// <summary>Added inside both roots, finite and at least 0.</summary>
    public double Eps { get; init; } = 1e-6;

    /// <summary>Factor of the parameter that is added to its gradient (L2), finite and at least 0.</summary>
    public double WeightDecay { get; init; }

    /// <summary>Whether the loss is to grow: the gradient's sign is turned first.</summary>
    public bool Maximize { get; init; }

    /// <summary>
    /// False goes tensor by tensor, true and null (the default) through all of them in one pass. The results are the same bits.
    /// </summary>
    public bool? Foreach { get; init; }

    /// <summary>
    /// PyTorch's flag for captured graphs, kept for its state dict: step counts and a learning rate in memory
    /// (<see cref="AdadeltaOptimizer.SetLearningRateTensor"/>) are read at the time of the step either way.
    /// </summary>
    public bool Capturable { get; init; }

    /// <summary>
    /// Whether steps are recorded for <see cref="AdadeltaOptimizer.Backward"/>. Not together with a <see cref="Foreach"/> of true,
    /// <see cref="ClipValue"/> or 16-bit parameters.
    /// </summary>
    public bool Differentiable { get; init; }

    /// <summary>What an <see cref="Eps"/> of 0 does where a gradient has always been 0; NaN, as in PyTorch, by default.</summary>
    public ZeroEps ZeroEps { get; init; }

    /// <summary>Whether 16-bit parameters are updated in float32 copies and take those rounded. Others are their own copies.</summary>
    public bool MasterWeights { get; init; }

    /// <summary>Weight decay beside the update: p *= 1 - lr·decay. Finite and at least 0.</summary>
    public double DecoupledWeightDecay { get; init; }

    /// <summary>The bound that each element of a gradient is clamped to on either side; 0, the default, for none.</summary>
    public double ClipValue { get; init; }

    /// <summary>
    /// Weight of the past in an exponential moving average of the weights, below 1, which is kept beside them and starts from
    /// their value; 0, the default, for none.
    /// </summary>
    public double AverageDecay { get; init; }

    internal static unsafe AdadeltaOptions FromNative(in adn_adadelta_options options) => new()
    {
        LearningRate = options.lr,
        Rho = options.rho,
        Eps = options.eps,
        WeightDecay = options.weight_decay,
        Maximize = options.maximize != 0,
        Foreach = options.foreach_ == NativeMethods.ADN_FOREACH_AUTO ? null : options.foreach_ == NativeMethods.ADN_FOREACH_TRUE,
        Capturable = options.capturable != 0,
        Differentiable = options.differentiable != 0,
        ZeroEps = (ZeroEps)options.zero_eps,
        MasterWeights = options.master_weights != 0,
        DecoupledWeightDecay = options.decoupled_weight_decay,
        ClipValue = options.clip_value,
        AverageDecay = options.average_decay,
    };

    internal unsafe adn_adadelta_options ToNative() => new()
    {
        struct_size = (uint)sizeof(adn_adadelta_options),
        lr = LearningRate,
        rho = Rho,
        eps = Eps,
        weight_decay = WeightDecay,
        maximize = Maximize ? 1 : 0,
        foreach_ = Foreach switch
        {
            null => NativeMethods.ADN_FOREACH_AUTO,
            false => NativeMethods.ADN_FOREACH_FALSE,
            true => NativeMethods.ADN_FOREACH_TRUE,
        },
        capturable = Capturable ? 1 : 0,
        differentiable = Differentiable ? 1 : 0,
        zero_eps = (int)ZeroEps,
        master_weights = MasterWeights ? 1 : 0,
        decoupled_weight_decay = DecoupledWeightDecay,
        clip_value = ClipValue,
        average_decay = AverageDecay,
    };

    private static unsafe AdadeltaOptions Preset(int preset)
    {
        adn_adadelta_options options;
        Status.ThrowIfFailed(NativeMethods.adn_adadelta_options_preset(&options, (uint)sizeof(adn_adadelta_options), preset));
        return FromNative(options);
    }
}

/// <summary>
/// What a step does beside the update, for all groups together. In this order: a gradient is divided by
/// <see cref="GradientScale"/>, clamped to its group's <see cref="AdadeltaOptions.ClipValue"/>, and multiplied by
/// min(1, ClipNorm / (norm + 1e-6)).
/// </summary>
public sealed record AdadeltaPassOptions
{
    /// <summary>Whether gradients are 0 after the step; by default they are not changed.</summary>
    public bool ZeroGradients { get; init; }

    /// <summary>The factor that the loss was multiplied by, finite and above 0; 1 by default.</summary>
    public double GradientScale { get; init; } = 1.0;

    /// <summary>
    /// Bound of the 2-norm of all gradients together, as <c>torch.nn.utils.clip_grad_norm_</c> has it; 0, the default, for none.
    /// </summary>
    public double ClipNorm { get; init; }

    /// <summary>Whether an infinite or NaN gradient anywhere skips the whole step, its counts too.</summary>
    public bool SkipNonfinite { get; init; }
}

/// <summary>What the last step found.</summary>
/// <param name="Skipped">Whether it was skipped because of <see cref="AdadeltaPassOptions.SkipNonfinite"/>.</param>
/// <param name="Norm">2-norm of the gradients before they were clipped by it; 0 without a <see cref="AdadeltaPassOptions.ClipNorm"/>.</param>
public readonly record struct AdadeltaReport(bool Skipped, double Norm);

/// <summary>Parameters that share settings.</summary>
/// <param name="Parameters">At least one; none may be in another group of the same optimizer.</param>
/// <param name="Options">Their settings; null takes the optimizer's defaults.</param>
public sealed record ParameterGroup(IReadOnlyList<Parameter> Parameters, AdadeltaOptions? Options = null);

/// <summary>
/// The running averages of one parameter, as views of the optimizer's own storage: what is written through them is what the
/// optimizer uses. They are disposed with it. Those of 16-bit parameters are float32, all others have the parameter's type.
/// </summary>
/// <param name="SquareAverage">Running average of the squared gradient, PyTorch's <c>square_avg</c>.</param>
/// <param name="AccumulatedDelta">Running average of the squared update, PyTorch's <c>acc_delta</c>.</param>
public sealed record AdadeltaState(DeviceTensor SquareAverage, DeviceTensor AccumulatedDelta);

/// <summary>
/// Gradients of some function with respect to one parameter and its state, for <see cref="AdadeltaOptimizer.Backward"/>; each a tensor of the
/// parameter's shape and type.
/// </summary>
/// <param name="Parameter">With respect to the parameter: in after the step, out before it.</param>
/// <param name="Gradient">With respect to the gradient that the step was given: out.</param>
/// <param name="SquareAverage">With respect to <c>square_avg</c>: in after the step, out before it.</param>
/// <param name="AccumulatedDelta">With respect to <c>acc_delta</c>: in after the step, out before it.</param>
public sealed record AdadeltaCotangent(DeviceTensor Parameter, DeviceTensor Gradient, DeviceTensor SquareAverage, DeviceTensor AccumulatedDelta);
