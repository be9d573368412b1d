using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Adadelta.Benchmarks;

/// <summary>How the TorchSharp program is written.</summary>
internal enum TorchMode
{
    /// <summary>As its users write it: zero_grad, and the loss read after every step.</summary>
    Written,

    /// <summary>Gradients set to none, ReLU in place, the loss left unread; run with glibc's malloc told to keep its memory.</summary>
    Fast,

    /// <summary>As <see cref="Fast"/>, with images and convolutions' weights in channels-last order.</summary>
    FastChannelsLast,
}

/// <summary>TorchSharp's side.</summary>
internal static class TorchWork
{
    public static IWork Create(Problem problem, int threads, TorchMode mode)
    {
        torch.set_num_threads(threads);
        return problem switch
        {
            NetworkProblem network => new NetworkWork(network, mode),
            OptimizerProblem optimizer => new OptimizerWork(optimizer),
            _ => throw new ArgumentException($"case: {problem.Name}, expected a network or an optimizer"),
        };
    }

    // TorchSharp 0.107.0 knows memory formats by name only; the strides are what libtorch goes by.
    private static Tensor ChannelsLast(Tensor tensor) => tensor.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);

    private sealed class Net : nn.Module<Tensor, Tensor>
    {
        private readonly List<Func<Tensor, Tensor>> _layers = [];

        public Net(NetworkProblem problem, bool inPlace)
            : base("net")
        {
            foreach (var (layer, input, _) in problem.Shapes())
            {
                _layers.Add(layer switch
                {
                    Conv conv => Register(
                        nn.Conv2d(input.Channels, conv.Channels, conv.Kernel, stride: conv.Stride, padding: conv.Padding)),
                    Linear linear => Register(nn.Linear(input.Count, linear.Features)),
                    MaxPool pool => x => nn.functional.max_pool2d(x, pool.Kernel),
                    Relu when inPlace => x => x.relu_(),
                    Relu => x => nn.functional.relu(x),
                    Flatten => x => x.flatten(1),
                    _ => throw new ArgumentException($"layer: {layer}, expected one that a network has"),
                });
            }
            Parameters = [.. parameters()];
            using var off = torch.no_grad();
            foreach (var (parameter, value) in Parameters.Zip(problem.InitialParameters()))
            {
                parameter.copy_(torch.tensor(value).reshape(parameter.shape));
            }
        }

        public Parameter[] Parameters { get; }

        public override Tensor forward(Tensor input) => _layers.Aggregate(input, (x, layer) => layer(x));

        public void MakeChannelsLast()
        {
            using var off = torch.no_grad();
            foreach (var parameter in Parameters.Where(parameter => parameter.dim() == 4))
            {
                parameter.set_(ChannelsLast(parameter.detach()));
            }
        }

        private Func<Tensor, Tensor> Register(nn.Module<Tensor, Tensor> module)
        {
            register_module($"layer{_layers.Count}", module);
            return module.forward;
        }
    }

    private sealed class NetworkWork : IWork
    {
        private readonly NetworkProblem _problem;
        private readonly bool _written;
        private readonly Net _net;
        private readonly optim.Optimizer _optimizer;
        private readonly Tensor _images, _labels, _last;
        private int _step;

        public NetworkWork(NetworkProblem problem, TorchMode mode)
        {
            _problem = problem;
            _written = mode == TorchMode.Written;
            _net = new Net(problem, !_written);
            long batch = problem.Batch;
            _images = torch.tensor(problem.Images())
                .reshape(NetworkProblem.ImageBatches * batch, problem.Input.Channels, problem.Input.Height, problem.Input.Width);
            _labels = torch.tensor(problem.Labels()).to(ScalarType.Int64);
            _last = torch.zeros(problem.Train ? [1] : [batch, NetworkProblem.Classes]);
            if (mode == TorchMode.FastChannelsLast)
            {
                _net.MakeChannelsLast();
                _images = ChannelsLast(_images);
            }
            _optimizer = optim.Adadelta(_net.Parameters, Problem.LearningRate, Problem.Rho, Problem.Eps);
            _net.train(problem.Train);
        }

        public void Step()
        {
            long batch = _problem.Batch;
            using var scope = torch.NewDisposeScope();
            var images = _images.narrow(0, _step % NetworkProblem.ImageBatches * batch, batch);
            if (_problem.Train)
            {
                Train(images, _labels.narrow(0, _step % NetworkProblem.LabelBatches * batch, batch));
            }
            else
            {
                using var off = torch.no_grad();
                _last.copy_(_net.forward(images));
            }
            _step++;
        }

        public double Check() => _last.abs().sum().item<float>();

        public void Dispose()
        {
            _optimizer.Dispose();
            _net.Dispose();
            _images.Dispose();
            _labels.Dispose();
            _last.Dispose();
        }

        private void Train(Tensor images, Tensor labels)
        {
            if (_written)
            {
                _optimizer.zero_grad();
            }
            else
            {
                foreach (var parameter in _net.Parameters)
                {
                    parameter.grad = null;
                }
            }
            var loss = nn.functional.cross_entropy(_net.forward(images), labels);
            loss.backward();
            _optimizer.step();
            if (_written)
            {
                _ = loss.item<float>();
            }
            using var off = torch.no_grad();
            _last.copy_(loss);
        }
    }

    private sealed class OptimizerWork : IWork
    {
        private readonly List<Parameter> _parameters = [];
        private readonly optim.Optimizer _optimizer;

        public OptimizerWork(OptimizerProblem problem)
        {
            foreach (var (shape, value, gradient) in problem.Tensors())
            {
                var parameter = new Parameter(torch.tensor(value).reshape(shape))
                {
                    grad = torch.tensor(gradient).reshape(shape),
                };
                _parameters.Add(parameter);
            }
            _optimizer = optim.Adadelta(_parameters, Problem.LearningRate, Problem.Rho, Problem.Eps);
        }

        public void Step() => _optimizer.step();

        public double Check() => _parameters[^1].detach().abs().mean().item<float>();

        public void Dispose()
        {
            _optimizer.Dispose();
            foreach (var parameter in _parameters)
            {
                parameter.Dispose();
            }
        }
    }
}
