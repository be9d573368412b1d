using Adadelta.Native;

namespace Adadelta.Training;

/// <summary>How a network reads a data set.</summary>
/// <param name="Loss">The mean cross-entropy of an image, whatever the network's reduction.</param>
/// <param name="Accuracy">The share of images read right, 0 to 1.</param>
/// <param name="Count">The images.</param>
/// <param name="ConfusionMatrix">
/// Images by [true class, predicted class]; square, one row and column for each of the network's outputs. The prediction is the
/// largest output, the first of equal ones.
/// </param>
public sealed record Evaluation(double Loss, double Accuracy, int Count, int[,] ConfusionMatrix)
{
    /// <summary>Runs the network over the data set in evaluation mode, in batches of its largest size.</summary>
    internal static Evaluation Of(Network network, ImageDataset data, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(network);
        ArgumentNullException.ThrowIfNull(data);
        Require.Fits(data, network);

        int imageLength = data.Shape.Count, classes = network.OutputCount;
        var batchSize = Math.Min(network.MaxBatchSize, data.Count);
        var images = new float[batchSize * imageLength];
        var outputs = new float[batchSize * classes];
        var labels = new int[batchSize];
        int[,] confusion = new int[classes, classes];
        double loss = 0;
        var right = 0;
        for (var first = 0; first < data.Count; first += batchSize)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var count = Math.Min(batchSize, data.Count - first);
            var input = images.AsSpan(0, count * imageLength);
            Pixels.Scale(data.Pixels.Span.Slice(first * imageLength, count * imageLength), input);
            for (var i = 0; i < count; i++)
            {
                labels[i] = data.Labels.Span[first + i];
            }
            network.Forward(input, outputs.AsSpan(0, count * classes));
            double batchLoss = network.Loss(labels.AsSpan(0, count));
            loss += network.Reduction == Reduction.Mean ? batchLoss * count : batchLoss;
            for (var i = 0; i < count; i++)
            {
                var predicted = IndexOfLargest(outputs.AsSpan(i * classes, classes));
                confusion[labels[i], predicted]++;
                right += predicted == labels[i] ? 1 : 0;
            }
        }
        return new Evaluation(loss / data.Count, (double)right / data.Count, data.Count, confusion);
    }

    private static int IndexOfLargest(ReadOnlySpan<float> values)
    {
        var best = 0;
        for (var i = 1; i < values.Length; i++)
        {
            if (values[i] > values[best])
            {
                best = i;
            }
        }
        return best;
    }
}
