using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Adadelta.Training.Tests;

/// <summary>An HTTP server on the loopback interface that answers as a test says, faults included.</summary>
internal sealed class LoopbackServer : IDisposable
{
    /// <summary>A request: the path without its slash, and from which byte on (0 without a Range header).</summary>
    public sealed record Request(string Path, long From);

    /// <summary>An answer. It says it has <see cref="Body"/>, sends the first <see cref="Sent"/> bytes of it, then waits or hangs up.</summary>
    public sealed record Reply(int Status, byte[] Body, string Headers = "")
    {
        public int Sent { get; init; } = Body.Length;

        public bool Waits { get; init; }
    }

    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly Func<Request, Reply> _answer;
    private readonly Task _loop;
    private readonly List<Request> _requests = [];

    public LoopbackServer(Func<Request, Reply> answer)
    {
        _answer = answer;
        _listener.Start();
        Address = new($"http://127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}/mnist/");
        _loop = Task.Run(ListenAsync);
    }

    public Uri Address { get; }

    public IReadOnlyList<Request> Requests
    {
        get
        {
            lock (_requests)
            {
                return [.. _requests];
            }
        }
    }

    /// <summary>Answers as a server of static files does, ranges included.</summary>
    public static Reply Serve(Request request, byte[] file) => request.From == 0 ? new(200, file)
        : request.From >= file.Length ? new(416, [], $"Content-Range: bytes */{file.Length}\r\n")
        : new(206, file[(int)request.From..], $"Content-Range: bytes {request.From}-{file.Length - 1}/{file.Length}\r\n");

    public void Dispose()
    {
        _stop.Cancel();
        _listener.Stop();
        _loop.Wait();
        _stop.Dispose();
    }

    private async Task ListenAsync()
    {
        var clients = new List<Task>();
        try
        {
            while (true)
            {
                clients.Add(AnswerAsync(await _listener.AcceptTcpClientAsync(_stop.Token)));
            }
        }
        catch (Exception error) when (error is OperationCanceledException or SocketException or InvalidOperationException)
        {
            await Task.WhenAll(clients);
        }
    }

    private async Task AnswerAsync(TcpClient client)
    {
        using var _ = client;
        try
        {
            var stream = client.GetStream();
            using var reader = new StreamReader(stream, Encoding.ASCII, leaveOpen: true);
            var path = (await reader.ReadLineAsync(_stop.Token))!.Split(' ')[1][Address.AbsolutePath.Length..];
            long from = 0;
            while (await reader.ReadLineAsync(_stop.Token) is { Length: > 0 } line)
            {
                if (line.StartsWith("Range: bytes=", StringComparison.OrdinalIgnoreCase))
                {
                    from = long.Parse(line["Range: bytes=".Length..].TrimEnd('-'), CultureInfo.InvariantCulture);
                }
            }
            var request = new Request(path, from);
            lock (_requests)
            {
                _requests.Add(request);
            }
            var reply = _answer(request);
            await stream.WriteAsync(Encoding.ASCII.GetBytes(
                $"HTTP/1.1 {reply.Status} Reason\r\nContent-Length: {reply.Body.Length}\r\n{reply.Headers}Connection: close\r\n\r\n"), _stop.Token);
            await stream.WriteAsync(reply.Body.AsMemory(0, reply.Sent), _stop.Token);
            if (reply.Waits)
            {
                await Task.Delay(Timeout.Infinite, _stop.Token);
            }
        }
        catch (Exception error) when (error is OperationCanceledException or IOException)
        {
            // The test is over, or the client has hung up.
        }
    }
}
