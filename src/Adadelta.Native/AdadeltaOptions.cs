namespace Adadelta.Native;

/// <summary>Settings of Adadelta; the defaults are those of <c>torch.optim.Adadelta</c>.</summary>
public sealed record AdadeltaOptions
{
    /// <summary>Factor on the update, finite and at least 0.</summary>
    public double LearningRate { get; init; } = 1.0;

    /// <summary>Weight of the past in both running averages, 0 to 1.</summary>
    public double Rho { get; init; } = 0.9;

    /// <summary>Added inside both roots, finite and at least 0.</summary>
    public double Eps { get; init; } = 1e-6;

    /// <summary>Factor of the parameter that is added to its gradient, finite and at least 0.</summary>
    public double WeightDecay { get; init; }

    /// <summary>Whether the loss is to grow: the gradient's sign is turned first.</summary>
    public bool Maximize { get; init; }
}

/// <summary>Parameters that share settings.</summary>
/// <param name="Parameters">At least one; none may be in another group of the same optimizer.</param>
/// <param name="Options">Their settings; null takes the optimizer's defaults.</param>
public sealed record ParameterGroup(IReadOnlyList<Parameter> Parameters, AdadeltaOptions? Options = null);

/// <summary>
/// The running averages of one parameter, as views of the optimizer's own storage: what is written through them is what the
/// optimizer uses. They are disposed with it.
/// </summary>
/// <param name="SquareAverage">Running average of the squared gradient, PyTorch's <c>square_avg</c>.</param>
/// <param name="AccumulatedDelta">Running average of the squared update, PyTorch's <c>acc_delta</c>.</param>
public sealed record AdadeltaState(Tensor SquareAverage, Tensor AccumulatedDelta);
