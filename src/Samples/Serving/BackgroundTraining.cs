using Adadelta.Native;
using Adadelta.Training;

/// <summary>Trains the network on a thread of its own until the program ends.</summary>
internal sealed class BackgroundTraining(Network network) : BackgroundService
{
    private float _loss = float.NaN;

    public float Loss => Volatile.Read(ref _loss);

    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Task.Factory.StartNew(() => Train(stoppingToken), stoppingToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private void Train(CancellationToken stoppingToken)
    {
        var digits = Digits.Create(seed: 1, train: 4096, test: 1);
        using var optimizer = new AdadeltaOptimizer(network.Parameters, new() { LearningRate = 0.1 });
        new Trainer(network, optimizer) { BatchSize = 64 }.Fit(digits.Train, epochs: 1000, new Progress(this), stoppingToken);
    }

    private sealed class Progress(BackgroundTraining training) : IProgress<TrainingProgress>
    {
        public void Report(TrainingProgress value) => Volatile.Write(ref training._loss, value.Loss);
    }
}
