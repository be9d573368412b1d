using System.Buffers;
using System.IO.Compression;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;

namespace Adadelta.Training;

/// <summary>
/// Fetches MNIST's four .gz files into a folder, trying mirror after mirror. A file grows under the name <c>….part</c>, from
/// where an interrupted download goes on, and gets its own name when its unpacked bytes have the published checksum. A file that is
/// there and has not is fetched again.
/// </summary>
internal sealed class MnistDownloader(HttpClient client)
{
    /// <summary>A file: name, size and MD5 of its unpacked bytes (a checksum against damage, not against forgery).</summary>
    internal sealed record RemoteFile(string Name, long UnpackedBytes, string UnpackedMd5);

    internal IReadOnlyList<Uri> Mirrors { get; init; } =
    [
        new("https://ossci-datasets.s3.amazonaws.com/mnist/"),
        new("https://storage.googleapis.com/cvdf-datasets/mnist/"),
        new("http://yann.lecun.com/exdb/mnist/"),
    ];

    internal IReadOnlyList<RemoteFile> Files { get; init; } =
    [
        new("train-images-idx3-ubyte.gz", 47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
        new("train-labels-idx1-ubyte.gz", 60_008, "a25bea736e30d166cdddb491f175f624"),
        new("t10k-images-idx3-ubyte.gz", 7_840_016, "2646ac647ad5339dbf082846283269ea"),
        new("t10k-labels-idx1-ubyte.gz", 10_008, "27ae3e4e09519cfbb04c329615203637"),
    ];

    /// <summary>How many times each mirror is tried.</summary>
    internal int Rounds { get; init; } = 3;

    /// <summary>The wait before the second round; later ones are longer.</summary>
    internal TimeSpan RetryDelay { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>How long a server may be silent.</summary>
    internal TimeSpan StallTimeout { get; init; } = TimeSpan.FromSeconds(30);

    public async Task DownloadAsync(string folder, IProgress<DownloadProgress>? progress, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(folder);
        for (var i = 0; i < Files.Count; i++)
        {
            var target = Path.Combine(folder, Files[i].Name);
            if (!File.Exists(target) || Check(target, Files[i]) is not null)
            {
                await FetchFromAnyAsync(Files[i], i, target, progress, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    private async Task FetchFromAnyAsync(
        RemoteFile file, int index, string target, IProgress<DownloadProgress>? progress, CancellationToken cancellationToken)
    {
        var part = target + ".part";
        var errors = new Dictionary<Uri, MirrorException>();
        for (var round = 0; round < Rounds; round++)
        {
            if (round > 0)
            {
                await Task.Delay(RetryDelay * round, cancellationToken).ConfigureAwait(false);
            }
            foreach (var mirror in Mirrors)
            {
                if (errors.TryGetValue(mirror, out var earlier) && earlier.Final)
                {
                    continue;
                }
                try
                {
                    var resumed = await FetchAsync(mirror).ConfigureAwait(false);
                    var wrong = Check(part, file);
                    if (wrong is not null && resumed)
                    {
                        // The first bytes may be another mirror's, or damaged: once more, all from this one.
                        File.Delete(part);
                        await FetchAsync(mirror).ConfigureAwait(false);
                        wrong = Check(part, file);
                    }
                    if (wrong is null)
                    {
                        File.Move(part, target, overwrite: true);
                        return;
                    }
                    File.Delete(part);
                    throw new MirrorException(wrong, final: false);
                }
                catch (MirrorException error)
                {
                    errors[mirror] = error;
                }
            }
        }
        throw new IOException(
            $"MNIST could not be downloaded ({file.Name}):{Environment.NewLine}"
            + string.Concat(errors.Select(e => $"  {e.Key}: {e.Value.Message}{Environment.NewLine}"))
            + "Without a network: --data digits needs no file; --data-dir DIR or the environment variable "
            + $"{MnistData.FolderVariable} names a folder with the four MNIST files.", errors.Values.Last());

        Task<bool> FetchAsync(Uri mirror) => AppendAsync(
            new(mirror, file.Name), part,
            (bytes, total) => progress?.Report(new(file.Name, index, Files.Count, bytes, total, mirror)), cancellationToken);
    }

    /// <summary>Fetches what is missing of a file. Returns whether bytes of an earlier download were kept.</summary>
    private async Task<bool> AppendAsync(Uri source, string part, Action<long, long?> report, CancellationToken cancellationToken)
    {
        await using var file = new FileStream(part, FileMode.OpenOrCreate, FileAccess.Write, FileShare.None);
        var have = file.Length;
        using var stall = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var request = new HttpRequestMessage(HttpMethod.Get, source);
        if (have > 0)
        {
            request.Headers.Range = new RangeHeaderValue(have, null);
        }
        using var response = await FromMirror(
            () => client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, stall.Token)).ConfigureAwait(false);
        if (response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable)
        {
            // Nothing is missing, or what is there is too long: the checksum decides.
            return true;
        }
        if (!response.IsSuccessStatusCode)
        {
            // A client error stays; a server error, a timeout or a request to slow down may pass.
            var final = (int)response.StatusCode is >= 400 and < 500
                && response.StatusCode is not (HttpStatusCode.RequestTimeout or HttpStatusCode.TooManyRequests);
            throw new MirrorException($"HTTP {(int)response.StatusCode} {response.ReasonPhrase}", final);
        }
        var resumes = response.StatusCode == HttpStatusCode.PartialContent;
        var range = response.Content.Headers.ContentRange;
        if (resumes && (have == 0 || range?.From != have))
        {
            throw new MirrorException($"sent the range {range}, expected one from byte {have}", final: true);
        }
        have = resumes ? have : 0;
        file.SetLength(have);
        file.Position = have;
        var total = response.Content.Headers.ContentLength is { } rest ? have + rest : (long?)null;
        await using var body = await FromMirror(() => response.Content.ReadAsStreamAsync(stall.Token)).ConfigureAwait(false);
        var buffer = ArrayPool<byte>.Shared.Rent(1 << 16);
        try
        {
            while (true)
            {
                report(have, total);
                var got = await FromMirror(() => body.ReadAsync(buffer, stall.Token).AsTask()).ConfigureAwait(false);
                if (got == 0)
                {
                    break;
                }
                await file.WriteAsync(buffer.AsMemory(0, got), cancellationToken).ConfigureAwait(false);
                have += got;
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
        if (have < total)
        {
            throw new MirrorException($"the connection ended after {have} of {total} bytes", final: false);
        }
        file.Flush(flushToDisk: true);
        return resumes;

        // What the network does is the mirror's failure; what the disk does is not.
        async Task<T> FromMirror<T>(Func<Task<T>> call)
        {
            stall.CancelAfter(StallTimeout);
            try
            {
                return await call().ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                throw new MirrorException($"silent for {StallTimeout.TotalSeconds:0.###} s", final: false);
            }
            catch (Exception error) when (error is HttpRequestException or IOException)
            {
                throw new MirrorException(error.Message, final: false, error);
            }
        }
    }

    /// <summary>What is wrong with a fetched file's unpacked bytes; null when they are the published ones.</summary>
    private static string? Check(string part, RemoteFile file)
    {
        if (FileKind.Of(part) is { } kind and not FileKind.Gzip)
        {
            return $"sent {kind}, expected {FileKind.Gzip}";
        }
        using var md5 = IncrementalHash.CreateHash(HashAlgorithmName.MD5);
        var buffer = ArrayPool<byte>.Shared.Rent(1 << 16);
        try
        {
            using var unpacked = new GZipStream(File.OpenRead(part), CompressionMode.Decompress);
            long size = 0;
            int got;
            while (size <= file.UnpackedBytes && (got = unpacked.Read(buffer)) > 0)
            {
                md5.AppendData(buffer, 0, got);
                size += got;
            }
            if (size != file.UnpackedBytes)
            {
                var found = size > file.UnpackedBytes ? "more" : $"{size} bytes";
                return $"unpacks to {found}, expected {file.UnpackedBytes} bytes";
            }
        }
        catch (InvalidDataException error)
        {
            return $"damaged gzip data: {error.Message}";
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
        var hash = Convert.ToHexStringLower(md5.GetHashAndReset());
        return hash == file.UnpackedMd5 ? null : $"MD5 of the unpacked bytes {hash}, expected {file.UnpackedMd5}";
    }

    private sealed class MirrorException(string message, bool final, Exception? inner = null) : Exception(message, inner)
    {
        /// <summary>Whether to ask this mirror again would be in vain.</summary>
        public bool Final { get; } = final;
    }
}
