using System.Diagnostics;
using System.Globalization;
using Adadelta.Native;

namespace Adadelta.Training;

/// <summary>Trains a network on a data set with Adadelta.</summary>
/// <remarks>
/// The network and the optimizer stay the caller's. The same network, data and settings give the same losses and the same weights
/// bit for bit on the CPU, whatever the number of threads. A step allocates nothing. The images are trained on from where the device
/// reads them: on the CPU in the data set's own memory, elsewhere in a copy that lasts as long as the run.
/// </remarks>
/// <example>
/// <code>
/// var history = new Trainer(network, optimizer) { BatchSize = 64, Test = mnist.Test }.Fit(mnist.Train, epochs: 10);
/// history.WriteCsv("loss.csv");
/// </code>
/// </example>
public sealed class Trainer
{
    private readonly Network _network;
    private readonly AdadeltaOptimizer _optimizer;
    private readonly int _batchSize;
    private readonly LearningRateSchedule _schedule = LearningRateSchedule.Constant();
    private readonly ImageDataset? _test;
    private readonly int _checkpointSteps;
    private readonly int _lossInterval;

    // what the schedule starts from, by group; the optimizer's own rates change as the run goes on
    private readonly List<double> _initialRates = [];

    // what Resume read, which the next epochs must go on from
    private Resumption? _resumed;

    /// <summary>Makes a trainer. The schedule starts from the learning rates that the optimizer has now.</summary>
    /// <param name="network">The network.</param>
    /// <param name="optimizer">
    /// An optimizer of the network's parameters: of all, or of those that are to be trained. The others are
    /// <see cref="FrozenParameters"/>.
    /// </param>
    /// <exception cref="ArgumentException">
    /// The optimizer holds none of the network's parameters, or one that is not the network's and so never gets a gradient.
    /// </exception>
    public Trainer(Network network, AdadeltaOptimizer optimizer)
    {
        ArgumentNullException.ThrowIfNull(network);
        ArgumentNullException.ThrowIfNull(optimizer);
        (_network, _optimizer) = (network, optimizer);
        Turn.Take(CheckParameters);
        _batchSize = Math.Min(64, network.MaxBatchSize);
        _lossInterval = network.Context.Device.Type == DeviceType.Cpu ? 1 : 50;
        Turn.Take(NoteInitialRates);
    }

    /// <summary>The network's parameters that the optimizer does not hold, which training leaves as they are.</summary>
    /// <exception cref="ObjectDisposedException">The network or the optimizer is disposed.</exception>
    public IReadOnlyList<Parameter> FrozenParameters
    {
        get
        {
            var trained = OptimizerParameters().Select(parameter => parameter.Value).ToHashSet(ReferenceEqualityComparer.Instance);
            return [.. _network.Parameters.Where(parameter => !trained.Contains(parameter.Value))];
        }
    }

    /// <summary>Images a step, from 1 to the network's largest batch; 64, or that if it is smaller, by default.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is out of its bounds.</exception>
    public int BatchSize
    {
        get => _batchSize;
        init
        {
            Require.That(
                value >= 1 && value <= _network.MaxBatchSize, nameof(BatchSize), value,
                $"1 <= BatchSize <= {_network.MaxBatchSize}, the network's largest batch");
            _batchSize = value;
        }
    }

    /// <summary>Seed of the images' order, 0 by default; see <see cref="BatchSampler"/>.</summary>
    public ulong Seed { get; init; }

    /// <summary>
    /// How the learning rates of all groups change by epoch; constant by default, which leaves the optimizer's alone.
    /// </summary>
    public LearningRateSchedule Schedule
    {
        get => _schedule;
        init
        {
            ArgumentNullException.ThrowIfNull(value, nameof(Schedule));
            _schedule = value;
        }
    }

    /// <summary>The images to test on after each epoch; null, the default, for no test.</summary>
    /// <exception cref="ArgumentException">Its shape or classes do not fit the network.</exception>
    public ImageDataset? Test
    {
        get => _test;
        init
        {
            if (value is not null)
            {
                Require.Fits(value, _network, nameof(Test));
            }
            _test = value;
        }
    }

    /// <summary>
    /// Steps whose losses are read together, 1 to <see cref="Network.LossCapacity"/>; 1 by default on the CPU, where a step is done
    /// when it returns, and 50 on CUDA, where reading a loss waits for the device: all steps but the last of so many are given to it
    /// without waiting. Losses are also read before a checkpoint, at the end of an epoch and when the run is cancelled, and each is
    /// kept and reported all the same.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is out of its bounds.</exception>
    public int LossInterval
    {
        get => _lossInterval;
        init
        {
            Require.That(
                value >= 1 && value <= Network.LossCapacity, nameof(LossInterval), value,
                $"1 <= LossInterval <= {Network.LossCapacity}");
            _lossInterval = value;
        }
    }

    /// <summary>
    /// A file that takes everything the run needs to go on with the same bits (<see cref="Resume"/>): after each epoch, or as
    /// often as <see cref="CheckpointSteps"/> says, at the end, and when it is cancelled. Null, the default, for none. Whether it can be
    /// written is tried before the first step.
    /// </summary>
    public string? CheckpointPath { get; init; }

    /// <summary>Steps between two checkpoints; 0, the default, for one after each epoch.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative.</exception>
    public int CheckpointSteps
    {
        get => _checkpointSteps;
        init
        {
            Require.That(value >= 0, nameof(CheckpointSteps), value, "CheckpointSteps >= 0");
            _checkpointSteps = value;
        }
    }

    /// <summary>Texts to keep in the checkpoint's metadata, or null.</summary>
    public IReadOnlyDictionary<string, string>? CheckpointMetadata { get; init; }

    /// <summary>
    /// Takes a run up where a checkpoint has it: sets network, optimizer (its options too, learning rate and rho among them) and schedule, so that <see cref="Fit"/>, or
    /// <see cref="EnumerateEpochs"/> with the history, goes on with the same bits as if the run had never stopped. Where anything does
    /// not fit, nothing is changed.
    /// </summary>
    /// <param name="path">The file, written through <see cref="CheckpointPath"/>.</param>
    /// <returns>
    /// The history up to the checkpoint. <see cref="Fit"/> goes on with it; to <see cref="EnumerateEpochs"/> it is passed.
    /// </returns>
    /// <exception cref="InvalidDataException">
    /// The file is damaged, or was made with another network, optimizer, seed, batch size, schedule or other test images.
    /// </exception>
    /// <exception cref="IOException">The file is missing or cannot be read.</exception>
    public LossHistory Resume(string path)
    {
        LossHistory? history = null;
        TrainingState? state = null;
        CheckpointFile.Load(_network, _optimizer, path, file =>
        {
            state = TrainingState.Of(path, file.Metadata);
            Check(nameof(Seed), state.Seed, Seed);
            Check(nameof(BatchSize), state.BatchSize, BatchSize);
            Check(nameof(Schedule), state.Schedule, Schedule.ToString()!);
            Check("groups", state.InitialRates.Count, _optimizer.GroupCount);
            if (state.Test is not null && DataIdentity.Of(Test) is { } test)
            {
                // The history would hold figures of both under one name.
                Check(nameof(Test), state.Test, test);
            }
            history = TrainingState.History(path, file.Tensors);
        });
        _initialRates.Clear();
        _initialRates.AddRange(state!.InitialRates);
        _resumed = new(path, state.Train, history!, history!.Steps.Count);
        return history;

        void Check<T>(string name, T found, T expected)
        {
            if (!EqualityComparer<T>.Default.Equals(found, expected))
            {
                throw new InvalidDataException(
                    string.Create(CultureInfo.InvariantCulture, $"{path}: made with {name} {found}, expected the trainer's {expected}"));
            }
        }
    }

    /// <summary>Trains for a number of epochs, after <see cref="Resume"/> from where the run stopped.</summary>
    /// <param name="train">The images to train on; of a run that is resumed the same ones, by their checksum.</param>
    /// <param name="epochs">Epochs, at least 0; of a run that is resumed those before it stopped included.</param>
    /// <param name="progress">
    /// Told of each step, on this thread: after the step, or, where <see cref="LossInterval"/> is above 1, when its loss is read.
    /// </param>
    /// <param name="cancellationToken">
    /// Stops between two steps. That is no error: the history has all finished steps, <see cref="LossHistory.Cancelled"/> is
    /// true, and the network can be used as it is.
    /// </param>
    /// <returns>The history; after <see cref="Resume"/> the one that it returned, with the further steps.</returns>
    /// <exception cref="ArgumentException">
    /// The data set does not fit the network, is not that of the run that was resumed, or <paramref name="epochs"/> is negative.
    /// </exception>
    /// <exception cref="CheckpointException">A checkpoint cannot be written. The last one is as it was.</exception>
    /// <exception cref="IOException">Nothing can be written to <see cref="CheckpointPath"/>; no step was made.</exception>
    /// <exception cref="UnauthorizedAccessException"><see cref="CheckpointPath"/> may not be written; no step was made.</exception>
    /// <exception cref="InvalidOperationException">Another call has trained the network in the meantime.</exception>
    /// <exception cref="ObjectDisposedException">The network, its context or the optimizer is disposed.</exception>
    /// <exception cref="TrainingDivergedException">A loss was not a number or infinite, or a weight has become so.</exception>
    /// <remarks>
    /// A call on the network from another thread is refused while a step runs (<see cref="ObjectInUseException"/>), and training waits
    /// for it between two steps, unharmed unless it trains. Better give the other thread a copy (<see cref="Network.CreateInference"/>).
    /// </remarks>
    public LossHistory Fit(
        ImageDataset train, int epochs, IProgress<TrainingProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        var history = _resumed?.History ?? new LossHistory();
        foreach (var _ in EnumerateEpochs(train, epochs, history, progress, cancellationToken))
        {
        }
        return history;
    }

    /// <summary>
    /// A sequence that trains an epoch each time that it is moved on, so that the caller can look at the network, save it or stop in
    /// between. A sequence that nobody enumerates trains nothing.
    /// </summary>
    /// <param name="train">The images to train on; of a run that is resumed the same ones, by their checksum.</param>
    /// <param name="epochs">Epochs in all, at least 0.</param>
    /// <param name="history">
    /// Takes the steps and epochs. Training goes on after the last step that it has: at the beginning for a new one, and where an
    /// earlier run stopped for that run's, when the network and the optimizer are as they were then. After <see cref="Resume"/> it is
    /// the history that was returned.
    /// </param>
    /// <param name="progress">As for <see cref="Fit"/>; told on the calling thread.</param>
    /// <param name="cancellationToken">
    /// Stops between two steps and ends the sequence; an epoch whose steps are all done comes out, though without its test when
    /// that was interrupted.
    /// </param>
    /// <exception cref="ArgumentException">
    /// The data set does not fit the network, <paramref name="epochs"/> is negative, the history is of longer epochs, or data set or
    /// history are not those of the run that was resumed.
    /// </exception>
    /// <exception cref="CheckpointException">A checkpoint cannot be written. The last one is as it was.</exception>
    /// <exception cref="IOException">Nothing can be written to <see cref="CheckpointPath"/>; no step was made.</exception>
    /// <exception cref="UnauthorizedAccessException"><see cref="CheckpointPath"/> may not be written; no step was made.</exception>
    /// <exception cref="ObjectDisposedException">The network, its context or the optimizer is disposed.</exception>
    /// <exception cref="TrainingDivergedException">A loss was not a number or infinite, or a weight has become so.</exception>
    public IEnumerable<EpochResult> EnumerateEpochs(
        ImageDataset train, int epochs, LossHistory history, IProgress<TrainingProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(train);
        ArgumentNullException.ThrowIfNull(history);
        Require.Fits(train, _network);
        Require.That(epochs >= 0, nameof(epochs), epochs, "epochs >= 0");
        Turn.Take(CheckParameters);
        CheckResumed(train, epochs, history);
        _ = NextStep(history, BatchSampler.CountSteps(train.Count, BatchSize));
        if (CheckpointPath is not null)
        {
            AtomicFile.CheckWritable(CheckpointPath);
        }
        return Run(train, epochs, history, progress, cancellationToken);
    }

    /// <summary>Runs the network over a data set in evaluation mode.</summary>
    /// <param name="data">The images.</param>
    /// <param name="cancellationToken">Stops between two batches.</param>
    /// <exception cref="ArgumentException">
    /// The data set does not fit the network, or its outputs are too many for a confusion matrix.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The network or its context is disposed.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    /// <exception cref="NotFiniteNumberException">An output of the network is NaN, or a loss is not finite.</exception>
    /// <exception cref="ObjectInUseException">Another thread is using the network.</exception>
    public Evaluation Evaluate(ImageDataset data, CancellationToken cancellationToken = default) =>
        Evaluate(_network, data, cancellationToken);

    /// <summary>Runs a network over a data set in evaluation mode, in batches of its largest size.</summary>
    /// <param name="network">The network.</param>
    /// <param name="data">The images.</param>
    /// <param name="cancellationToken">Stops between two batches.</param>
    /// <exception cref="ArgumentException">
    /// The data set does not fit the network, or its outputs are too many for a confusion matrix.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The network or its context is disposed.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    /// <exception cref="NotFiniteNumberException">An output of the network is NaN, or a loss is not finite.</exception>
    /// <exception cref="ObjectInUseException">Another thread is using the network.</exception>
    public static Evaluation Evaluate(Network network, ImageDataset data, CancellationToken cancellationToken = default) =>
        Evaluation.Of(network, data, cancellationToken);

    private IEnumerable<EpochResult> Run(
        ImageDataset train, int epochs, LossHistory history, IProgress<TrainingProgress>? progress,
        CancellationToken cancellationToken)
    {
        var sampler = new BatchSampler(train.Count, BatchSize, Seed);
        var steps = sampler.StepsPerEpoch;
        (int firstEpoch, int firstStep) = NextStep(history, steps);
        history.Cancelled = false;
        if (firstEpoch >= epochs)
        {
            yield break;
        }
        using var images = train.ToDevice(_network.Context);
        using var testImages = Test?.ToDevice(_network.Context);
        var clock = new Clock(epochs, steps, Test is not null);
        var losses = new LossReader(_network, history, clock, progress, Math.Min(LossInterval, steps), Diverged);
        for (var epoch = firstEpoch; epoch < epochs; epoch++)
        {
            var rate = Turn.Take(() => SetLearningRates(epoch));
            history.Reserve(steps);
            clock.BeginEpoch();
            for (var step = epoch == firstEpoch ? firstStep : 0; step < steps; step++)
            {
                if (cancellationToken.IsCancellationRequested)
                {
                    losses.Read(epoch, step, rate);
                    losses.Report();
                    history.Cancelled = true;
                    SaveCheckpoint(train, history);
                    yield break;
                }
                clock.Start();
                var batch = sampler.GetBatch(epoch, step);
                losses.BeginStep();
                Turn.TrainStep(_network, _optimizer, images, batch);
                clock.StopAfterStep(batch.Length);
                losses.AddStep();
                var isCheckpoint = step < steps - 1 && IsCheckpoint((long)epoch * steps + step + 1);
                if (losses.IsFull || isCheckpoint || step == steps - 1)
                {
                    losses.Read(epoch, step + 1, rate);
                    if (isCheckpoint && losses.AreFinite)
                    {
                        SaveCheckpoint(train, history);
                    }
                    losses.Report();
                }
            }
            var test = RunTest(testImages, history, clock, cancellationToken);
            var result = new EpochResult(
                epoch + 1, AverageLoss(history, epoch + 1), test?.Loss, test?.Accuracy, rate, clock.EpochSeconds,
                clock.SamplesPerSecond);
            history.Add(result);
            if (CheckpointSteps == 0 || history.Cancelled || epoch + 1 == epochs || IsCheckpoint((long)(epoch + 1) * steps))
            {
                SaveCheckpoint(train, history);
            }
            progress?.Report(clock.Progress(history.Steps[^1], result));
            yield return result;
            if (history.Cancelled)
            {
                yield break;
            }
        }
    }

    private bool IsCheckpoint(long step) => CheckpointSteps > 0 && step % CheckpointSteps == 0;

    private void SaveCheckpoint(ImageDataset train, LossHistory history)
    {
        if (CheckpointPath is null || history.Steps.Count == 0)
        {
            return;
        }
        Turn.Take(NoteInitialRates);
        Dictionary<string, string> metadata = new(CheckpointMetadata ?? new Dictionary<string, string>(), StringComparer.Ordinal);
        new TrainingState(
            Seed, BatchSize, DataIdentity.Of(train), DataIdentity.Of(Test), Schedule.ToString()!, _initialRates).AddTo(metadata);
        try
        {
            Turn.Take(() => CheckpointFile.Save(
                _network, _optimizer, CheckpointPath, metadata, TrainingState.Tensors(history).Select(TensorSource.Of)));
        }
        catch (UnloadableException error)
        {
            // The checkpoint before this one is of use, and stays.
            throw Diverged(history, history.Steps[^1], error.Message, error);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException(history, error);
        }
    }

    private TrainingDivergedException Diverged(LossHistory history, StepResult step, string found, Exception? cause = null) => new(
        step.Epoch, step.Step, step.Loss, history, found, Turn.Take(() => TrainingDivergedException.Advice(_optimizer)), cause);

    private IEnumerable<Parameter> OptimizerParameters() =>
        Enumerable.Range(0, _optimizer.GroupCount).SelectMany(_optimizer.GetParameters);

    private void CheckParameters()
    {
        var own = _network.Parameters.Select(parameter => parameter.Value).ToHashSet(ReferenceEqualityComparer.Instance);
        List<Parameter> given = [.. OptimizerParameters()];
        var foreign = given.FindAll(parameter => !own.Contains(parameter.Value));
        if (foreign.Count == given.Count)
        {
            throw new ArgumentException(
                $"optimizer: holds none of the network's {own.Count} parameters, so that nothing would be trained; expected those in "
                + $"network.{nameof(Network.Parameters)}, or some of them", "optimizer");
        }
        if (foreign.Count > 0)
        {
            throw new ArgumentException(
                $"optimizer: its parameter '{foreign[0].Name}' is not the network's, so that no training step gives it a gradient; "
                + $"expected those in network.{nameof(Network.Parameters)}, or some of them", "optimizer");
        }
    }

    private void CheckResumed(ImageDataset train, int epochs, LossHistory history)
    {
        if (_resumed is not { } resumed)
        {
            return;
        }
        Require.That(
            resumed.Steps == 0 || epochs >= resumed.History.Steps[resumed.Steps - 1].Epoch, nameof(epochs), epochs,
            $"epochs >= {(resumed.Steps > 0 ? resumed.History.Steps[resumed.Steps - 1].Epoch : 0)}, the epoch that the run resumed from {resumed.Path} has reached");
        var last = resumed.Steps > 0 ? resumed.History.Steps[resumed.Steps - 1] : default;
        if (resumed.Steps > 0 && (history.Steps.Count < resumed.Steps || history.Steps[resumed.Steps - 1] != last))
        {
            throw new ArgumentException(
                $"history: does not have the {resumed.Steps} steps of the run resumed from {resumed.Path}, which would begin again; "
                + $"expected what {nameof(Resume)} returned", nameof(history));
        }
        var found = DataIdentity.Of(train);
        if (found != resumed.Train)
        {
            throw new ArgumentException($"train: {found}, expected {resumed.Train}, as in {resumed.Path}", nameof(train));
        }
    }

    private Evaluation? RunTest(
        DeviceDataset? images, LossHistory history, Clock clock, CancellationToken cancellationToken)
    {
        if (images is null)
        {
            return null;
        }
        try
        {
            var begin = Stopwatch.GetTimestamp();
            var test = Evaluation.Of(_network, images, Test!, null, true, cancellationToken);
            clock.Tested(Stopwatch.GetElapsedTime(begin));
            return test;
        }
        catch (NotFiniteNumberException error)
        {
            throw Diverged(history, history.Steps[^1], error.Message, error);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            history.Cancelled = true;
            return null;
        }
    }

    private void NoteInitialRates()
    {
        while (_initialRates.Count < _optimizer.GroupCount)
        {
            _initialRates.Add(_optimizer.GetLearningRate(_initialRates.Count));
        }
    }

    private double SetLearningRates(int epoch)
    {
        if (Schedule != LearningRateSchedule.Constant())
        {
            NoteInitialRates();
            for (var group = 0; group < _initialRates.Count; group++)
            {
                _optimizer.SetLearningRate(Schedule.GetLearningRate(_initialRates[group], epoch), group);
            }
        }
        return _optimizer.LearningRate;
    }

    // epoch and step, from 0, after the last step of the history
    private static (int Epoch, int Step) NextStep(LossHistory history, int steps)
    {
        if (history.Steps.Count == 0)
        {
            return (0, 0);
        }
        var last = history.Steps[^1];
        if (last.Step > steps)
        {
            throw new ArgumentException(
                $"history: its last step is {last.Step} of epoch {last.Epoch}, expected at most {steps}, the steps of an epoch "
                + "of this data set and batch size", nameof(history));
        }
        return last.Step == steps ? (last.Epoch, 0) : (last.Epoch - 1, last.Step);
    }

    private static double AverageLoss(LossHistory history, int epoch)
    {
        double sum = 0;
        var count = 0;
        for (var i = history.Steps.Count - 1; i >= 0 && history.Steps[i].Epoch == epoch; i--)
        {
            sum += history.Steps[i].Loss;
            count++;
        }
        return sum / count;
    }

    /// <summary>What a run that is resumed must go on with.</summary>
    private sealed record Resumption(string Path, DataIdentity Train, LossHistory History, int Steps);

    /// <summary>
    /// The losses of steps that were given to the device: read together, kept in the history and reported. A step whose loss has
    /// been read is in the history whatever happens next.
    /// </summary>
    private sealed class LossReader(
        Network network, LossHistory history, Clock clock, IProgress<TrainingProgress>? progress, int capacity,
        Func<LossHistory, StepResult, string, Exception?, TrainingDivergedException> diverged)
    {
        private readonly float[] _losses = new float[capacity];

        // steps whose losses are still to be read
        private int _pending;

        // the network's step before them
        private long _begin;

        // of the last reading: the place of its first step in the history, and what ends the run
        private int _first;
        private TrainingDivergedException? _error;

        public bool IsFull => _pending == capacity;

        public bool AreFinite => _error is null;

        public void BeginStep()
        {
            if (_pending == 0)
            {
                _begin = network.Step;
            }
        }

        public void AddStep() => _pending++;

        /// <summary>Reads what is pending: the losses of an epoch's steps before <paramref name="end"/>.</summary>
        public void Read(int epoch, int end, double rate)
        {
            var losses = _losses.AsSpan(0, _pending);
            clock.Start();
            Turn.ReadLosses(network, losses);
            clock.Stop();
            if (_pending > 0 && network.Step != _begin + _pending)
            {
                throw new InvalidOperationException(
                    $"network: another call has trained it too: its step is {network.Step}, expected {_begin + _pending}, {_pending} after "
                    + $"{_begin}; expected one training at a time, give each a copy ({nameof(Network)}.{nameof(Network.Clone)})");
            }
            _first = history.Steps.Count;
            for (var i = 0; i < losses.Length; i++)
            {
                var step = end - losses.Length + i + 1;
                var result = new StepResult(epoch + 1, step, losses[i], rate);
                if (!float.IsFinite(losses[i]))
                {
                    _error = diverged(
                        history, result, string.Create(CultureInfo.InvariantCulture, $"loss {losses[i]}, expected a finite number"),
                        null);
                    break;
                }
                history.Add(result);
            }
            _pending = 0;
        }

        /// <summary>Reports what was read last, but for an epoch's last step, which is reported with the epoch's result.</summary>
        /// <exception cref="TrainingDivergedException">A loss was not a number or infinite.</exception>
        public void Report()
        {
            for (var i = _first; i < history.Steps.Count; i++)
            {
                if (!clock.IsLastOfEpoch(history.Steps[i]))
                {
                    progress?.Report(clock.Progress(history.Steps[i], null));
                }
            }
            if (_error is not null)
            {
                throw _error;
            }
        }
    }

    /// <summary>Times of a run. Training time is that of steps and of waiting for their losses, nothing else.</summary>
    private sealed class Clock(int epochs, int steps, bool tests)
    {
        private readonly long _begin = Stopwatch.GetTimestamp();
        private long _start, _runTicks, _epochTicks, _runSteps, _epochSamples;
        private TimeSpan _test;

        public double EpochSeconds => _epochTicks / (double)Stopwatch.Frequency;

        public double SamplesPerSecond => _epochTicks > 0 ? _epochSamples / EpochSeconds : 0;

        public void BeginEpoch() => (_epochTicks, _epochSamples) = (0, 0);

        public void Start() => _start = Stopwatch.GetTimestamp();

        public void Stop()
        {
            var ticks = Stopwatch.GetTimestamp() - _start;
            _runTicks += ticks;
            _epochTicks += ticks;
        }

        public void StopAfterStep(int samples)
        {
            Stop();
            _runSteps++;
            _epochSamples += samples;
        }

        public void Tested(TimeSpan time) => _test = time;

        public bool IsLastOfEpoch(StepResult step) => step.Step == steps;

        public TrainingProgress Progress(StepResult step, EpochResult? finished) => new(
            step.Epoch, epochs, step.Step, steps, step.Loss, step.LearningRate, SamplesPerSecond, Stopwatch.GetElapsedTime(_begin),
            Remaining(step), finished);

        // of the time after a step and, if it is the epoch's last one, the epoch's test
        private TimeSpan? Remaining(StepResult step)
        {
            if (_runSteps < 2)
            {
                return null;
            }
            var stepsLeft = (long)(epochs - step.Epoch + 1) * steps - step.Step;
            var seconds = stepsLeft * (_runTicks / (double)Stopwatch.Frequency / _runSteps);
            var testsLeft = IsLastOfEpoch(step) ? epochs - step.Epoch : epochs - step.Epoch + 1;
            return TimeSpan.FromSeconds(seconds + (tests ? testsLeft * _test.TotalSeconds : 0));
        }
    }
}
