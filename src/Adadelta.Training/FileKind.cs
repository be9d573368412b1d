using System.Text;

namespace Adadelta.Training;

/// <summary>Tells by its first bytes what a file is that was expected to be another.</summary>
internal static class FileKind
{
    /// <summary>As many bytes of a file's beginning as are looked at.</summary>
    public const int StartBytes = 512;

    public const string Gzip = "gzip-compressed data";

    public const string Json = "JSON text";

    public const string SafeTensors = "a safetensors file";

    private const string Safe = "save the weights with safetensors.torch.save_file";

    /// <summary>The kind of a file, with its article and what can be done about it; null where it is not known.</summary>
    /// <param name="start">The first bytes, <see cref="StartBytes"/> where there are as many.</param>
    public static string? Of(ReadOnlySpan<byte> start) => start switch
    {
        [] => "an empty file",
        [(byte)'P', (byte)'K', 3, 4, ..] => $"a ZIP archive, as PyTorch's .pt and .pth files are ({Safe})",
        // PyTorch's magic number, or any dictionary
        [0x80, 2 or 3 or 4 or 5, 0x8a or (byte)'}' or (byte)'c' or 0x95 or (byte)'(' or (byte)']', ..] =>
            $"a Python pickle, as old .pt and .pth files are ({Safe})",
        [0x1f, 0x8b, ..] => Gzip,
        [0x89, (byte)'P', (byte)'N', (byte)'G', ..] => "a PNG image",
        [0xff, 0xd8, 0xff, ..] => "a JPEG image",
        [0x89, (byte)'H', (byte)'D', (byte)'F', ..] => "an HDF5 file",
        [0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y', ..] => "a NumPy array",
        [0, 0, 8 or 9 or 0xb or 0xc or 0xd or 0xe, >= 1 and <= 8, ..] => "an IDX file",
        [_, _, _, _, _, 0, 0, 0, (byte)'{', ..] => SafeTensors,
        _ => OfText(start),
    };

    /// <summary>As <see cref="Of(ReadOnlySpan{byte})"/>, of a file.</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static string? Of(string path)
    {
        using var stream = Open(path);
        return Of(stream);
    }

    /// <summary>As <see cref="Of(ReadOnlySpan{byte})"/>, of a file that is read from its beginning.</summary>
    public static string? Of(FileStream stream)
    {
        stream.Position = 0;
        Span<byte> start = stackalloc byte[StartBytes];
        return Of(start[..stream.ReadAtLeast(start, start.Length, throwOnEndOfStream: false)]);
    }

    /// <summary>Whether a file of no other kind begins as text does: with printable characters and ends of lines alone.</summary>
    public static bool IsText(FileStream stream)
    {
        stream.Position = 0;
        Span<byte> start = stackalloc byte[StartBytes];
        foreach (var value in start[..stream.ReadAtLeast(start, start.Length, throwOnEndOfStream: false)])
        {
            if (value is < (byte)' ' and not ((byte)'\t' or (byte)'\n' or (byte)'\r') or 0x7f)
            {
                return false;
            }
        }
        return true;
    }

    /// <summary>Opens a file to read.</summary>
    /// <exception cref="IOException">It is not there, cannot be read or is a folder.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static FileStream Open(string path) => Directory.Exists(path)
        ? throw new IOException($"{path}: a folder, expected a file")
        : File.OpenRead(path);

    private static string? OfText(ReadOnlySpan<byte> start)
    {
        // Latin-1 takes any bytes; the marks are ASCII.
        var text = Encoding.Latin1.GetString(start).Replace("\u00ef\u00bb\u00bf", "", StringComparison.Ordinal).TrimStart();
        if (text.StartsWith("version https://git-lfs.", StringComparison.Ordinal))
        {
            return "a Git LFS pointer (git lfs pull fetches the file itself)";
        }
        if (text.StartsWith('<'))
        {
            return text.Contains("<html", StringComparison.OrdinalIgnoreCase)
                || text.StartsWith("<!doctype html", StringComparison.OrdinalIgnoreCase)
                || text.Contains("<head", StringComparison.OrdinalIgnoreCase)
                ? "a web page (a server or a network's log-in page answered in place of the file)"
                : "an XML document (a server may have answered with an error in place of the file)";
        }
        return text.StartsWith('{') || text.StartsWith('[') ? Json : null;
    }
}
