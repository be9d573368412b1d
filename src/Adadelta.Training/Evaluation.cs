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
        using var images = data.ToDevice(network.Context);
        return Of(network, images, data.Labels.Span, cancellationToken);
    }

    /// <inheritdoc cref="Of(Network, ImageDataset, CancellationToken)"/>
    internal static Evaluation Of(
        Network network, DeviceDataset images, ReadOnlySpan<byte> classOf, CancellationToken cancellationToken)
    {
        var classes = network.OutputCount;
        var batchSize = Math.Min(network.MaxBatchSize, images.Count);
        var places = new uint[batchSize];
        var outputs = new float[batchSize * classes];
        var labels = new int[batchSize];
        int[,] confusion = new int[classes, classes];
        double loss = 0;
        var right = 0;
        for (var first = 0; first < images.Count; first += batchSize)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var count = Math.Min(batchSize, images.Count - first);
            for (var i = 0; i < count; i++)
            {
                (places[i], labels[i]) = ((uint)(first + i), classOf[first + i]);
            }
            network.Forward(images, places.AsSpan(0, count), outputs.AsSpan(0, count * classes));
            double batchLoss = network.Loss(labels.AsSpan(0, count));
            loss += network.Reduction == Reduction.Mean ? batchLoss * count : batchLoss;
            for (var i = 0; i < count; i++)
            {
                var predicted = IndexOfLargest(outputs.AsSpan(i * classes, classes));
                confusion[labels[i], predicted]++;
                right += predicted == labels[i] ? 1 : 0;
            }
        }
        return new Evaluation(loss / images.Count, (double)right / images.Count, images.Count, confusion);
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
