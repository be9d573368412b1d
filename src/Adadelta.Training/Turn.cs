using Adadelta.Native;

namespace Adadelta.Training;

/// <summary>
/// Calls of a long run on objects that another thread may be using for a moment, such as a request that asks the network for a
/// prediction: they are made again until it is through, since the run must not end for that.
/// </summary>
internal static class Turn
{
    internal static T Take<T>(Func<T> call)
    {
        SpinWait wait = default;
        while (true)
        {
            try
            {
                return call();
            }
            catch (ObjectInUseException)
            {
                wait.SpinOnce();
            }
        }
    }

    internal static void Take(Action call) => Take(() =>
    {
        call();
        return true;
    });

    // Without a closure, since a step allocates nothing.
    internal static void TrainStep(Network network, AdadeltaOptimizer optimizer, DeviceDataset images, ReadOnlySpan<uint> batch)
    {
        SpinWait wait = default;
        while (true)
        {
            try
            {
                network.QueueTrainStep(optimizer, images, batch);
                return;
            }
            catch (ObjectInUseException)
            {
                wait.SpinOnce();
            }
        }
    }

    internal static void ReadLosses(Network network, Span<float> losses)
    {
        SpinWait wait = default;
        while (true)
        {
            try
            {
                network.ReadLosses(losses);
                return;
            }
            catch (ObjectInUseException)
            {
                wait.SpinOnce();
            }
        }
    }

    internal static void Forward(Network network, DeviceDataset images, ReadOnlySpan<uint> batch, Span<float> outputs)
    {
        SpinWait wait = default;
        while (true)
        {
            try
            {
                network.Forward(images, batch, outputs);
                return;
            }
            catch (ObjectInUseException)
            {
                wait.SpinOnce();
            }
        }
    }
}
