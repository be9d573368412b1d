using System.Globalization;
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
    // 256 MB
    private const int MostOutputs = 1 << 26;

    /// <summary>Runs the network over the data set in evaluation mode, in batches of its largest size.</summary>
    internal static Evaluation Of(Network network, ImageDataset data, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(network);
        ArgumentNullException.ThrowIfNull(data);
        Require.Fits(data, network);
        var classes = network.OutputCount;
        if ((long)classes * classes > Array.MaxLength)
        {
            throw new ArgumentException(
                $"network: {classes} outputs make a confusion matrix of {(long)classes * classes} elements, expected at most "
                + $"{Array.MaxLength}", nameof(network));
        }
        using var images = data.ToDevice(network.Context);
        return Of(network, images, data, new int[classes, classes], false, cancellationToken);
    }

    /// <summary>
    /// Images of a batch: as many as the network takes, but for outputs beyond what an array holds, and short of that beyond what is
    /// sensible to hold.
    /// </summary>
    internal static int BatchSize(int largest, int images, int outputs) =>
        Math.Min(Math.Min(largest, images), Math.Max(1, MostOutputs / outputs));

    /// <param name="network">The network.</param>
    /// <param name="images">The images on its device.</param>
    /// <param name="data">The same images.</param>
    /// <param name="confusion">Takes the confusion matrix; null where nobody asks for it.</param>
    /// <param name="waits">Whether a call on the network from another thread is waited for instead of refusing.</param>
    /// <param name="cancellationToken">Stops between two batches.</param>
    /// <exception cref="NotFiniteNumberException">An output is NaN, or a loss is not finite.</exception>
    internal static Evaluation Of(
        Network network, DeviceDataset images, ImageDataset data, int[,]? confusion, bool waits, CancellationToken cancellationToken)
    {
        var classes = network.OutputCount;
        var classOf = data.Labels.Span;
        var batchSize = BatchSize(network.MaxBatchSize, images.Count, classes);
        var places = new uint[batchSize];
        var outputs = new float[batchSize * classes];
        var labels = new int[batchSize];
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
            if (waits)
            {
                Turn.Forward(network, images, places.AsSpan(0, count), outputs.AsSpan(0, count * classes));
            }
            else
            {
                network.Forward(images, places.AsSpan(0, count), outputs.AsSpan(0, count * classes));
            }
            var nan = IndexOfNaN(outputs.AsSpan(0, count * classes));
            if (nan >= 0)
            {
                throw new NotFiniteNumberException(
                    $"output {nan % classes} of the network is NaN for image {first + nan / classes} of data set '{data.Name}', expected "
                    + "a finite number: its weights are not finite or too large");
            }
            // From the outputs of this very pass, whatever else is done with the network meanwhile, and without what training needs.
            double batchLoss = 0;
            for (var i = 0; i < count; i++)
            {
                batchLoss += CrossEntropy(outputs.AsSpan(i * classes, classes), labels[i]);
            }
            if (!double.IsFinite(batchLoss))
            {
                throw new NotFiniteNumberException(
                    string.Create(CultureInfo.InvariantCulture, $"the loss of images {first} to {first + count - 1} of data set ")
                    + string.Create(CultureInfo.InvariantCulture, $"'{data.Name}' is {batchLoss}, expected a finite number"));
            }
            loss += batchLoss;
            for (var i = 0; i < count; i++)
            {
                var predicted = IndexOfLargest(outputs.AsSpan(i * classes, classes));
                if (confusion is not null)
                {
                    confusion[labels[i], predicted]++;
                }
                right += predicted == labels[i] ? 1 : 0;
            }
        }
        return new Evaluation(loss / images.Count, (double)right / images.Count, images.Count, confusion ?? new int[0, 0]);
    }

    // log sum exp of the outputs, less that of the label; the largest is taken off first, so that nothing overflows
    private static double CrossEntropy(ReadOnlySpan<float> outputs, int label)
    {
        var most = (double)outputs[IndexOfLargest(outputs)];
        double sum = 0;
        foreach (var output in outputs)
        {
            sum += Math.Exp(output - most);
        }
        return Math.Log(sum) - (outputs[label] - most);
    }

    private static int IndexOfNaN(ReadOnlySpan<float> values)
    {
        for (var i = 0; i < values.Length; i++)
        {
            if (float.IsNaN(values[i]))
            {
                return i;
            }
        }
        return -1;
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
