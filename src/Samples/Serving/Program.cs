// A web service that trains in the background and answers requests meanwhile. A network may be used by one thread at a time, so
// the requests go to copies of it, which take over the weights of a whole step from time to time.
//
//   GET  /status   the steps trained so far, the last loss, and the threads in use
//   POST /predict  the 784 bytes of a 28x28 image, white on black: the likeliest digit, and the step that said so
using Adadelta.Native;
using Adadelta.Training;

var builder = WebApplication.CreateSlimBuilder(args);
builder.Services.AddSingleton(_ => ComputeContext.Create());
builder.Services.AddSingleton(services => new NetworkBuilder(1, Digits.Size, Digits.Size)
    .Conv2d(8, kernel: 5).MaxPool2d(2).ReLU()
    .Flatten().Linear(32).ReLU().Linear(Digits.Classes)
    .Build(services.GetRequiredService<ComputeContext>(), seed: 1));
builder.Services.AddSingleton(services => new InferencePool(services.GetRequiredService<Network>(), copies: 4));
builder.Services.AddSingleton<BackgroundTraining>();
builder.Services.AddHostedService(services => services.GetRequiredService<BackgroundTraining>());
var app = builder.Build();

app.MapGet("/status", (ComputeContext context, Network network, BackgroundTraining training) => new
{
    network.Step,
    Loss = float.IsFinite(training.Loss) ? training.Loss : (float?)null,
    Threads = context.ThreadCount,
});

app.MapPost("/predict", async (HttpRequest request, InferencePool pool, CancellationToken cancelled) =>
{
    const int pixels = Digits.Size * Digits.Size;
    var bytes = new byte[pixels + 1];
    var count = await request.Body.ReadAtLeastAsync(bytes, bytes.Length, throwOnEndOfStream: false, cancelled);
    return count == pixels
        ? Results.Ok(await pool.PredictAsync([.. bytes.Take(pixels).Select(value => value / 255f)], cancelled))
        : Results.BadRequest($"expected an image of {pixels} bytes");
});

app.Run();
