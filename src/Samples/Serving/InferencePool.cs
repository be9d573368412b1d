using System.Collections.Concurrent;
using Adadelta.Native;

/// <summary>
/// Copies of a network that is being trained, so that as many requests are answered at once as there are copies; others wait for
/// one to become free. One copy and a lock would do for few requests.
/// </summary>
internal sealed class InferencePool : IDisposable
{
    // Steps that a copy may lag behind: renewing it copies all weights, and the next training step waits for that.
    private const long MaxLag = 10;

    private readonly Network _trained;
    private readonly ConcurrentBag<Network> _free = [];
    private readonly SemaphoreSlim _turns;

    public InferencePool(Network trained, int copies)
    {
        _trained = trained;
        _turns = new SemaphoreSlim(copies);
        for (var i = 0; i < copies; i++)
        {
            _free.Add(trained.CreateInference(maxBatchSize: 1));
        }
    }

    /// <summary>Runs an image through a copy with the weights of one whole step, at most <see cref="MaxLag"/> steps old.</summary>
    public async Task<Prediction> PredictAsync(float[] image, CancellationToken cancellationToken)
    {
        await _turns.WaitAsync(cancellationToken);
        _free.TryTake(out var copy);
        try
        {
            if (_trained.Step - copy!.Step >= MaxLag)
            {
                copy.CopyParametersFrom(_trained);
            }
            var logits = new float[copy.OutputCount];
            copy.Forward(image, logits);
            return Prediction.Of(logits, copy.Step);
        }
        finally
        {
            _free.Add(copy!);
            _turns.Release();
        }
    }

    public void Dispose()
    {
        foreach (var copy in _free)
        {
            copy.Dispose();
        }
        _turns.Dispose();
    }
}

/// <summary>What a network says about an image.</summary>
/// <param name="Digit">The likeliest digit.</param>
/// <param name="Probabilities">The probability of each digit.</param>
/// <param name="Step">The training step whose weights said so.</param>
internal sealed record Prediction(int Digit, double[] Probabilities, long Step)
{
    public static Prediction Of(float[] logits, long step)
    {
        var largest = logits.Max();
        var powers = logits.Select(logit => Math.Exp(logit - largest)).ToArray();
        return new(Array.IndexOf(logits, largest), [.. powers.Select(power => power / powers.Sum())], step);
    }
}
