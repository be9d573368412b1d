using Adadelta.Native;

namespace Adadelta.Benchmarks;

/// <summary>This library's side.</summary>
internal static class OurWork
{
    private static readonly AdadeltaOptions s_options = new()
    {
        LearningRate = Problem.LearningRate,
        Rho = Problem.Rho,
        Eps = Problem.Eps,
    };

    public static IWork Create(Problem problem, int threads) => problem switch
    {
        NetworkProblem network => new NetworkWork(network, threads),
        OptimizerProblem optimizer => new OptimizerWork(optimizer, threads),
        _ => throw new ArgumentException($"case: {problem.Name}, expected a network or an optimizer"),
    };

    public static Network Build(NetworkProblem problem, ComputeContext context)
    {
        var builder = new NetworkBuilder(problem.Input.Channels, problem.Input.Height, problem.Input.Width);
        foreach (var layer in problem.Layers)
        {
            _ = layer switch
            {
                Conv conv => builder.Conv2d(conv.Channels, conv.Kernel, conv.Stride, conv.Padding),
                MaxPool pool => builder.MaxPool2d(pool.Kernel),
                Relu => builder.ReLU(),
                Flatten => builder.Flatten(),
                Linear linear => builder.Linear(linear.Features),
                _ => throw new ArgumentException($"layer: {layer}, expected one that a network has"),
            };
        }
        var network = builder.Build(context, maxBatchSize: problem.Batch);
        foreach (var (parameter, value) in network.Parameters.Zip(problem.InitialParameters()))
        {
            parameter.Value.Write(value);
        }
        return network;
    }

    public static AdadeltaOptimizer Optimizer(IReadOnlyList<Parameter> parameters) => new(parameters, s_options);

    private sealed class NetworkWork : IWork
    {
        private readonly NetworkProblem _problem;
        private readonly ComputeContext _context;
        private readonly Network _network;
        private readonly AdadeltaOptimizer _optimizer;
        private readonly float[] _images, _logits;
        private readonly int[] _labels;
        private int _step;
        private float _loss;

        public NetworkWork(NetworkProblem problem, int threads)
        {
            _problem = problem;
            _context = ComputeContext.Create(Device.Cpu, threads);
            _network = Build(problem, _context);
            _optimizer = Optimizer(_network.Parameters);
            _images = problem.Images();
            _labels = problem.Labels();
            _logits = new float[problem.Batch * NetworkProblem.Classes];
        }

        public void Step()
        {
            var batch = _problem.Batch;
            var image = batch * _problem.Input.Count;
            var images = _images.AsSpan(_step % NetworkProblem.ImageBatches * image, image);
            if (_problem.Train)
            {
                var labels = _labels.AsSpan(_step % NetworkProblem.LabelBatches * batch, batch);
                _loss = _network.TrainStep(_optimizer, images, labels);
            }
            else
            {
                _network.Forward(images, _logits);
            }
            _step++;
        }

        public double Check() => _problem.Train ? _loss : _logits.Sum(logit => (double)Math.Abs(logit));

        public void Dispose()
        {
            _optimizer.Dispose();
            _network.Dispose();
            _context.Dispose();
        }
    }

    private sealed class OptimizerWork : IWork
    {
        private readonly ComputeContext _context;
        private readonly List<Parameter> _parameters = [];
        private readonly AdadeltaOptimizer _optimizer;

        public OptimizerWork(OptimizerProblem problem, int threads)
        {
            _context = ComputeContext.Create(Device.Cpu, threads);
            foreach (var (shape, value, gradient) in problem.Tensors())
            {
                _parameters.Add(new Parameter($"p{_parameters.Count}", new(_context, shape), new(_context, shape)));
                _parameters[^1].Value.Write(value);
                _parameters[^1].Gradient.Write(gradient);
            }
            _optimizer = Optimizer(_parameters);
        }

        public void Step() => _optimizer.Step();

        public double Check() => _parameters[^1].Value.ToArray().Average(element => (double)Math.Abs(element));

        public void Dispose()
        {
            _optimizer.Dispose();
            foreach (var parameter in _parameters)
            {
                parameter.Value.Dispose();
                parameter.Gradient.Dispose();
            }
            _context.Dispose();
        }
    }
}
