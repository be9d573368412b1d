namespace Adadelta.Native;

/// <summary>How a CUDA device computes. On the CPU these have no effect.</summary>
public sealed record CudaOptions
{
    /// <summary>Lets matrix products round their inputs to TF32; by default they are strict float32.</summary>
    public bool AllowTf32 { get; init; }

    /// <summary>Takes only those algorithms of cuDNN that give the same bits each time.</summary>
    public bool Deterministic { get; init; }

    /// <summary>Lets cuDNN measure its algorithms when a network is built; by default its heuristics choose.</summary>
    public bool SearchAlgorithms { get; init; }

    /// <summary>Leaves cuDNN and cuBLAS alone, even where they are found.</summary>
    public bool OwnKernelsOnly { get; init; }

    /// <summary>Launches a training step piece by piece instead of as one captured graph.</summary>
    public bool NoGraph { get; init; }

    /// <summary>The most bytes of workspace for one algorithm of cuDNN; 0, the default, for 64 MiB.</summary>
    public long WorkspaceLimit { get; init; }

    /// <summary>
    /// A <c>cudaStream_t</c> of the host program that all work is put on, which must outlive everything made on the context;
    /// 0, the default, for a stream of the context's own.
    /// </summary>
    public nint ExternalStream { get; init; }
}
