using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using NUnit.Framework;
using static Adadelta.Training.Tests.LoopbackServer;

namespace Adadelta.Training.Tests;

public class MnistDownloaderTests
{
    // MD5 is what MNIST's publishers give; here it only has to be the same function.
#pragma warning disable CA5351
    private static string Md5(byte[] bytes) => Convert.ToHexStringLower(MD5.HashData(bytes));
#pragma warning restore CA5351

    private static readonly byte[] s_bytes = [.. Enumerable.Range(0, 40_000).Select(i => (byte)(i * i >> 3))];
    private static readonly byte[] s_packed = IdxFile.Gzip(s_bytes);
    private static readonly byte[] s_otherBytes = "labels"u8.ToArray();
    private static readonly byte[] s_otherPacked = IdxFile.Gzip(s_otherBytes);

    private TemporaryFolder _folder = null!;
    private HttpClient _client = null!;

    [SetUp]
    public void SetUp() => (_folder, _client) = (new(), new());

    [TearDown]
    public void TearDown()
    {
        _client.Dispose();
        _folder.Dispose();
    }

    private MnistDownloader Downloader(params Uri[] mirrors) => new(_client)
    {
        Mirrors = mirrors,
        Files = [new("a.gz", s_bytes.Length, Md5(s_bytes)), new("b.gz", s_otherBytes.Length, Md5(s_otherBytes))],
        RetryDelay = TimeSpan.Zero,
    };

    private Task Download(params LoopbackServer[] servers) =>
        Downloader([.. servers.Select(server => server.Address)]).DownloadAsync(_folder.FullName, null, CancellationToken.None);

    private static byte[] File(Request request) => request.Path == "a.gz" ? s_packed : s_otherPacked;

    private static Reply Good(Request request) => Serve(request, File(request));

    private void AssertComplete()
    {
        Assert.That(_folder.Files, Is.EqualTo(new[] { "a.gz", "b.gz" }));
        Assert.That(System.IO.File.ReadAllBytes(_folder["a.gz"]), Is.EqualTo(s_packed));
        Assert.That(System.IO.File.ReadAllBytes(_folder["b.gz"]), Is.EqualTo(s_otherPacked));
    }

    private sealed class Recorder : IProgress<DownloadProgress>
    {
        public List<DownloadProgress> Reports { get; } = [];

        public Action<DownloadProgress>? Then { get; init; }

        public void Report(DownloadProgress value)
        {
            Reports.Add(value);
            Then?.Invoke(value);
        }
    }

    [Test]
    public async Task Fetches_every_file_and_reports_how_far_it_is()
    {
        using var server = new LoopbackServer(Good);
        var progress = new Recorder();
        await Downloader(server.Address).DownloadAsync(_folder["deep", "cache"], progress, CancellationToken.None);
        Assert.That(_folder.Files, Is.EqualTo(new[] { Path.Combine("deep", "cache", "a.gz"), Path.Combine("deep", "cache", "b.gz") }));
        var first = progress.Reports.Where(report => report.File == "a.gz").ToList();
        Assert.That(first[0], Is.EqualTo(new DownloadProgress("a.gz", 0, 2, 0, s_packed.Length, server.Address)));
        Assert.That(first[^1].Bytes, Is.EqualTo(s_packed.Length));
        Assert.That(first.Select(report => report.Bytes), Is.Ordered);
        Assert.That(progress.Reports[^1], Is.EqualTo(new DownloadProgress("b.gz", 1, 2, s_otherPacked.Length, s_otherPacked.Length, server.Address)));
    }

    [Test]
    public async Task Files_that_are_there_are_not_fetched_again()
    {
        System.IO.File.WriteAllBytes(_folder["a.gz"], s_packed);
        using var server = new LoopbackServer(Good);
        await Download(server);
        AssertComplete();
        Assert.That(server.Requests, Is.EqualTo(new[] { new Request("b.gz", 0) }));
    }

    [Test]
    public async Task A_file_that_is_there_and_damaged_is_fetched_again()
    {
        System.IO.File.WriteAllBytes(_folder["a.gz"], s_packed[..^20]);
        System.IO.File.WriteAllBytes(_folder["b.gz"], IdxFile.Gzip("other labels"u8.ToArray()));
        using var server = new LoopbackServer(Good);
        await Download(server);
        AssertComplete();
        Assert.That(server.Requests, Is.EqualTo(new[] { new Request("a.gz", 0), new Request("b.gz", 0) }));
    }

    // A hotel's network answers every address with its own page.
    [Test]
    public void A_web_page_in_place_of_a_file_is_called_that()
    {
        using var portal = new LoopbackServer(request => Serve(request, "<!DOCTYPE html><html>Please log in</html>"u8.ToArray()));
        Assert.That(() => Download(portal), Throws.TypeOf<IOException>().With.Message.Contains(
            $"{portal.Address}: sent a web page (a server or a network's log-in page answered in place of the file), expected gzip-compressed data"));
        Assert.That(_folder.Files, Is.Empty);
    }

    [Test]
    public async Task The_next_mirror_is_asked_when_one_sends_wrong_bytes()
    {
        var wrong = IdxFile.Gzip([.. s_bytes.Reverse()]);
        using var bad = new LoopbackServer(request => Serve(request, wrong));
        using var good = new LoopbackServer(Good);
        await Download(bad, good);
        AssertComplete();
        Assert.That(good.Requests, Is.EqualTo(new[] { new Request("a.gz", 0), new Request("b.gz", 0) }), "nothing of the wrong bytes is kept");
    }

    [Test]
    public async Task A_connection_that_ends_early_is_taken_up_where_it_ended()
    {
        var first = true;
        using var server = new LoopbackServer(request =>
        {
            var reply = Good(request) with { Sent = first ? 1000 : Good(request).Body.Length };
            first = false;
            return reply;
        });
        await Download(server);
        AssertComplete();
        Assert.That(server.Requests, Is.EqualTo(new[] { new Request("a.gz", 0), new Request("a.gz", 1000), new Request("b.gz", 0) }));
    }

    [Test]
    public async Task A_server_without_ranges_sends_the_file_from_the_start()
    {
        System.IO.File.WriteAllBytes(_folder["a.gz.part"], s_packed[..500]);
        using var server = new LoopbackServer(request => new(200, File(request)));
        await Download(server);
        AssertComplete();
        Assert.That(server.Requests[0], Is.EqualTo(new Request("a.gz", 500)));
    }

    [Test]
    public async Task A_longer_part_does_not_outlive_a_restart()
    {
        System.IO.File.WriteAllBytes(_folder["a.gz.part"], new byte[s_packed.Length + 1000]);
        using var server = new LoopbackServer(request => new(200, File(request)));
        await Download(server);
        AssertComplete();
    }

    [Test]
    public async Task A_part_that_turns_out_wrong_is_fetched_anew_from_the_same_mirror()
    {
        System.IO.File.WriteAllBytes(_folder["a.gz.part"], new byte[500]);
        using var server = new LoopbackServer(Good);
        await Download(server);
        AssertComplete();
        Assert.That(server.Requests, Is.EqualTo(new[] { new Request("a.gz", 500), new Request("a.gz", 0), new Request("b.gz", 0) }));
    }

    [TestCase(false)]
    [TestCase(true)]
    public async Task A_part_that_lacks_nothing_is_checked(bool damaged)
    {
        var part = (byte[])s_packed.Clone();
        part[part.Length / 2] ^= (byte)(damaged ? 1 : 0);
        System.IO.File.WriteAllBytes(_folder["a.gz.part"], part);
        using var server = new LoopbackServer(Good);
        await Download(server);
        AssertComplete();
        Assert.That(server.Requests.Count(request => request.Path == "a.gz"), Is.EqualTo(damaged ? 2 : 1));
    }

    [Test]
    public void When_every_mirror_fails_the_message_names_each_and_the_alternatives()
    {
        using var missing = new LoopbackServer(_ => new(404, []));
        using var failing = new LoopbackServer(_ => new(503, []));
        using var cut = new LoopbackServer(request => Good(request) with { Sent = 0 });
        using var wrong = new LoopbackServer(request => Serve(request, IdxFile.Gzip(new byte[s_bytes.Length])));
        using var html = new LoopbackServer(request => Serve(request, "<html>Log in to this network</html>"u8.ToArray()));
        using var small = new LoopbackServer(request => Serve(request, s_otherPacked));
        using var bomb = new LoopbackServer(request => Serve(request, IdxFile.Gzip(new byte[10_000_000])));
        Assert.That(() => Download(missing, failing, cut, wrong, html, small, bomb), Throws.TypeOf<IOException>().With.Message.Matches(
            $@"(?s)MNIST could not be downloaded \(a\.gz\).*{missing.Address}: HTTP 404 Reason.*{failing.Address}: HTTP 503 Reason.*"
            + $@"{cut.Address}: .+{wrong.Address}: MD5 of the unpacked bytes [0-9a-f]+, expected {Md5(s_bytes)}.*"
            + $@"{html.Address}: sent a web page .*, expected gzip-compressed data.*{small.Address}: unpacks to 6 bytes, expected 40000 bytes.*"
            + $@"{bomb.Address}: unpacks to more, expected 40000 bytes.*--data digits.*--data-dir.*ADADELTA_DATA_DIR"));
        Assert.That(missing.Requests, Has.Count.EqualTo(1), "what is not there will not be there a second later");
        Assert.That(failing.Requests, Has.Count.EqualTo(3));
        Assert.That(_folder.Files, Is.Empty);
    }

    [Test]
    public void Without_a_network_the_message_names_the_alternatives()
    {
        // A port that was just given back: nobody listens there.
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        var port = ((IPEndPoint)probe.LocalEndpoint).Port;
        probe.Stop();
        Assert.That(() => Downloader(new Uri($"http://127.0.0.1:{port}/")).DownloadAsync(_folder.FullName, null, CancellationToken.None),
            Throws.TypeOf<IOException>().With.Message.Contains($"http://127.0.0.1:{port}/: ").And.Message.Contains("--data digits")
                .And.Message.Contains("--data-dir").And.Message.Contains("ADADELTA_DATA_DIR"));
    }

    [Test]
    public async Task A_cancelled_download_keeps_what_has_arrived_and_goes_on_from_there()
    {
        using var cancellation = new CancellationTokenSource();
        using (var stalls = new LoopbackServer(request => Good(request) with { Sent = 700, Waits = true }))
        {
            var progress = new Recorder { Then = report => { if (report.Bytes > 0) { cancellation.Cancel(); } } };
            Assert.That(() => Downloader(stalls.Address).DownloadAsync(_folder.FullName, progress, cancellation.Token),
                Throws.InstanceOf<OperationCanceledException>());
        }
        Assert.That(_folder.Files, Is.EqualTo(new[] { "a.gz.part" }));
        var have = new FileInfo(_folder["a.gz.part"]).Length;
        Assert.That(have, Is.InRange(1, 700));
        using var server = new LoopbackServer(Good);
        await Download(server);
        AssertComplete();
        Assert.That(server.Requests[0], Is.EqualTo(new Request("a.gz", have)));
    }

    [Test]
    public async Task A_silent_mirror_is_left_for_the_next()
    {
        using var silent = new LoopbackServer(request => Good(request) with { Sent = 0, Waits = true });
        using var good = new LoopbackServer(Good);
        var downloader = new MnistDownloader(_client)
        {
            Mirrors = [silent.Address, good.Address],
            Files = Downloader().Files,
            StallTimeout = TimeSpan.FromMilliseconds(100),
        };
        await downloader.DownloadAsync(_folder.FullName, null, CancellationToken.None);
        AssertComplete();
        Assert.That(silent.Requests, Is.Not.Empty);
    }

    [Test]
    public async Task A_range_that_was_not_asked_for_is_refused()
    {
        System.IO.File.WriteAllBytes(_folder["a.gz.part"], s_packed[..500]);
        using var strange = new LoopbackServer(request => request.From == 0
            ? Good(request)
            : new(206, s_packed[400..], $"Content-Range: bytes 400-{s_packed.Length - 1}/{s_packed.Length}\r\n"));
        using var good = new LoopbackServer(Good);
        await Download(strange, good);
        AssertComplete();
        Assert.That(good.Requests[0], Is.EqualTo(new Request("a.gz", 500)));
    }

    [Test]
    public void A_disk_that_cannot_be_written_is_not_taken_for_a_mirror_that_fails()
    {
        Directory.CreateDirectory(_folder["a.gz.part"]);
        using var server = new LoopbackServer(Good);
        Assert.That(() => Download(server), Throws.InstanceOf<UnauthorizedAccessException>().Or.TypeOf<IOException>()
            .With.Message.Contains("a.gz.part"));
        Assert.That(server.Requests, Is.Empty);
    }

    [Test]
    public void The_published_files_are_MNIST_s()
    {
        using var client = new HttpClient();
        var downloader = new MnistDownloader(client);
        Assert.That(downloader.Files.Select(file => file.UnpackedBytes), Is.EqualTo(new long[] { 16 + 60000 * 784, 8 + 60000, 16 + 10000 * 784, 8 + 10000 }));
        Assert.That(downloader.Mirrors, Has.Count.GreaterThan(1).And.All.Property(nameof(Uri.AbsoluteUri)).EndsWith("/"));
        Assert.That(downloader.Files.Select(file => file.UnpackedMd5), Is.Unique.And.All.Matches("^[0-9a-f]{32}$"));
    }
}
