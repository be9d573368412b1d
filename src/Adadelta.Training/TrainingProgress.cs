namespace Adadelta.Training;

/// <summary>Where a run stands; reported for each step.</summary>
/// <param name="Epoch">The epoch of the step, from 1.</param>
/// <param name="Epochs">Epochs of the run.</param>
/// <param name="Step">The step in its epoch, from 1.</param>
/// <param name="Steps">Steps of an epoch.</param>
/// <param name="Loss">The step's loss, as in <see cref="StepResult"/>.</param>
/// <param name="LearningRate">The step's learning rate, that of the optimizer's first group.</param>
/// <param name="SamplesPerSecond">Images per second of training, over the epoch so far.</param>
/// <param name="Elapsed">Time since the run began, all included.</param>
/// <param name="Remaining">
/// Estimate of the time left, from the mean step so far and, once the first one is over, the last test; null after the run's
/// first step, which is not like the others.
/// </param>
/// <param name="Finished">The epoch's result, in the report of its last step alone, which comes after the test.</param>
public readonly record struct TrainingProgress(
    int Epoch, int Epochs, int Step, int Steps, float Loss, double LearningRate, double SamplesPerSecond, TimeSpan Elapsed,
    TimeSpan? Remaining, EpochResult? Finished);
