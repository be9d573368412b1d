using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.RegularExpressions;
using NUnit.Framework;

namespace Adadelta.Native.Tests;

// The web service of src/Samples/Serving, as a process of its own on a free port of this machine.
internal sealed class ServingSampleTests
{
    [Test]
    public async Task Parallel_requests_are_answered_with_the_weights_of_whole_steps_while_it_trains()
    {
        await using var service = await Service.StartAsync();
        var image = new byte[28 * 28];
        new Random(1).NextBytes(image);
        var answers = await Task.WhenAll(Enumerable.Range(0, 8).Select(async _ =>
        {
            var mine = new List<Prediction>();
            // Until it has trained on beside the requests.
            do
            {
                mine.Add(await service.PredictAsync(image));
            }
            while (mine.Count < 50 || mine[^1].Step < mine[0].Step + 20);
            return mine;
        }));
        Assert.That(answers.SelectMany(mine => mine).Select(answer => answer.Probabilities.Sum()), Is.All.EqualTo(1.0).Within(1e-12), "ten roundings");
        foreach (var mine in answers.SelectMany(mine => mine).GroupBy(answer => answer.Step))
        {
            Assert.That(mine.Select(answer => string.Join(' ', answer.Probabilities)).Distinct().Count(), Is.EqualTo(1), $"step {mine.Key}");
        }
        var status = await service.StatusAsync();
        Assert.That(status.Step, Is.GreaterThanOrEqualTo(answers.Max(mine => mine.Max(answer => answer.Step))));
        Assert.That(status.Loss, Is.Not.Null);
    }

    [Test]
    public async Task An_image_of_another_size_is_refused_and_the_service_goes_on()
    {
        await using var service = await Service.StartAsync();
        foreach (var size in (int[])[0, 783, 785])
        {
            using var response = await service.Client.PostAsync("/predict", new ByteArrayContent(new byte[size]));
            Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.BadRequest));
        }
        Assert.That((await service.PredictAsync(new byte[784])).Probabilities, Has.Length.EqualTo(10));
    }

    // What a container's quota, an affinity mask and the variable itself come down to.
    [Test]
    public async Task The_default_number_of_threads_obeys_the_runtime_s_number_of_processors()
    {
        await using var service = await Service.StartAsync(("DOTNET_PROCESSOR_COUNT", "1"));
        Assert.That((await service.StatusAsync()).Threads, Is.EqualTo(1));
    }

    private sealed record Prediction(int Digit, double[] Probabilities, long Step);

    private sealed record State(long Step, float? Loss, int Threads);

    private sealed class Service : IAsyncDisposable
    {
        private readonly Process _process;

        private Service(Process process, Uri address)
        {
            _process = process;
            Client = new HttpClient { BaseAddress = address };
        }

        internal HttpClient Client { get; }

        public async ValueTask DisposeAsync()
        {
            Client.Dispose();
            _process.Kill();
            await _process.WaitForExitAsync();
            _process.Dispose();
        }

        internal static async Task<Service> StartAsync(params (string Name, string Value)[] environment)
        {
            var start = new ProcessStartInfo(
                "dotnet", [Path.Combine(TestContext.CurrentContext.TestDirectory, "Serving.dll"), "--urls", "http://127.0.0.1:0"])
            {
                RedirectStandardOutput = true,
            };
            foreach (var (name, value) in environment)
            {
                start.Environment[name] = value;
            }
            var process = Process.Start(start)!;
            try
            {
                var said = "";
                while (await process.StandardOutput.ReadLineAsync() is { } line)
                {
                    said += line + Environment.NewLine;
                    if (Regex.Match(line, @"http://127\.0\.0\.1:\d+") is { Success: true } address)
                    {
                        _ = process.StandardOutput.ReadToEndAsync();
                        return new Service(process, new Uri(address.Value));
                    }
                }
                throw new InvalidOperationException($"The service did not start: {said}");
            }
            catch
            {
                process.Kill();
                process.Dispose();
                throw;
            }
        }

        internal async Task<Prediction> PredictAsync(byte[] image)
        {
            using var response = await Client.PostAsync("/predict", new ByteArrayContent(image));
            response.EnsureSuccessStatusCode();
            return (await response.Content.ReadFromJsonAsync<Prediction>())!;
        }

        internal async Task<State> StatusAsync() => (await Client.GetFromJsonAsync<State>("/status"))!;
    }
}
