using System.Buffers.Binary;
using System.Reflection.PortableExecutable;
using System.Runtime.InteropServices;

namespace Adadelta.Native.Interop;

// Looks at a file before the system's loader does. That one maps what the headers promise, so that a file which ends too early
// kills the process (SIGBUS) where an exception is wanted; of other files it says little that helps.
internal static class LibraryFile
{
    internal const string Elf = "an ELF library", Pe = "a Windows library (PE)", MachO = "a macOS library (Mach-O)";

    // The same processor by its number in each format.
    private static readonly (Architecture Architecture, uint Elf, uint Pe, uint MachO)[] s_processors =
    [
        (Architecture.X64, 62, 0x8664, 0x0100_0007),
        (Architecture.Arm64, 183, 0xAA64, 0x0100_000C),
        (Architecture.X86, 3, 0x014C, 7),
        (Architecture.Arm, 40, 0x01C4, 12),
        (Architecture.S390x, 22, 0, 0),
        (Architecture.LoongArch64, 258, 0, 0),
        (Architecture.Ppc64le, 21, 0, 0),
        (Architecture.RiscV64, 243, 0, 0),
    ];

    // What keeps it from being a library that this process can load; null where nothing is seen.
    internal static string? Problem(string path) =>
        Problem(path, OperatingSystem.IsWindows() ? Pe : OperatingSystem.IsMacOS() ? MachO : Elf);

    internal static string? Problem(string path, string expected)
    {
        if (Directory.Exists(path))
        {
            return "a folder, expected a file";
        }
        try
        {
            // Pipes and devices have no length either, and opening a pipe would wait for its other end.
            if (new FileInfo(path).Length == 0)
            {
                return "an empty file";
            }
            using var file = File.OpenRead(path);
            return Problem(file, expected);
        }
        catch (UnauthorizedAccessException)
        {
            return "it must not be read: permission denied";
        }
        catch (IOException error)
        {
            return $"it cannot be read: {error.Message}";
        }
    }

    private static string? Problem(FileStream file, string expected)
    {
        Span<byte> start = stackalloc byte[64];
        start = start[..file.ReadAtLeast(start, start.Length, throwOnEndOfStream: false)];
        var kind = start.StartsWith("\x7F"u8 + "ELF"u8) ? Elf
            : start.StartsWith("MZ"u8) ? Pe
            : start is [0xCF, 0xFA, 0xED, 0xFE, ..] or [0xCE, 0xFA, 0xED, 0xFE, ..] or [0xCA, 0xFE, 0xBA, 0xBE, ..] ? MachO
            : null;
        if (kind is null)
        {
            return start.StartsWith("version https://git-lfs"u8) ? "a Git LFS pointer in place of the file (git lfs pull fetches it)"
                : start.StartsWith("!<arch>"u8) ? "a static library, expected a shared one"
                : start.IndexOfAnyExceptInRange((byte)'\t', (byte)'~') < 0 ? "a text file, expected a shared library"
                : "not a shared library";
        }
        if (kind != expected)
        {
            return $"{kind}, expected {expected}";
        }
        try
        {
            return kind == Elf ? ElfProblem(file) : kind == Pe ? PeProblem(file) : MachOProblem(file, 0, file.Length);
        }
        catch (EndOfStreamException)
        {
            return $"truncated: it ends after {file.Length} bytes, within its own headers";
        }
    }

    private static string? ElfProblem(FileStream file)
    {
        // Numbers are in the order of the processor's bytes, addresses as wide as its own.
        var wide = IntPtr.Size == 8;
        var header = Read(file, 0, wide ? 64 : 52);
        var sameOrder = header[5] == (BitConverter.IsLittleEndian ? 1 : 2);
        uint machine = sameOrder ? Number(header, 18, 2) : BinaryPrimitives.ReverseEndianness(BitConverter.ToUInt16(header, 18));
        if (!sameOrder || header[4] != (wide ? 2 : 1) || OtherProcessor(machine, processor => processor.Elf) is not null)
        {
            return OtherProcessor(machine, processor => processor.Elf) ?? "made for another processor";
        }
        var segments = Address(header, wide ? 32 : 28);
        var (size, count) = ((int)Number(header, wide ? 54 : 42, 2), (int)Number(header, wide ? 56 : 44, 2));
        if (size != (wide ? 56 : 32))
        {
            return "damaged: its ELF header makes no sense";
        }
        var table = Read(file, segments, size * count);
        for (var i = 0; i < count; i++)
        {
            var segment = table.AsSpan(i * size, size).ToArray();
            const uint Load = 1;
            if (Number(segment, 0, 4) == Load
                && Truncated(file, Address(segment, wide ? 8 : 4), Address(segment, wide ? 32 : 16)) is { } problem)
            {
                return problem;
            }
        }
        return null;

        long Address(byte[] bytes, int offset) =>
            wide ? (long)ulong.Min(BitConverter.ToUInt64(bytes, offset), long.MaxValue) : BitConverter.ToUInt32(bytes, offset);

        static uint Number(byte[] bytes, int offset, int size) =>
            size == 2 ? BitConverter.ToUInt16(bytes, offset) : BitConverter.ToUInt32(bytes, offset);
    }

    private static string? PeProblem(FileStream file)
    {
        file.Position = 0;
        try
        {
            var headers = new PEHeaders(file);
            return OtherProcessor((ushort)headers.CoffHeader.Machine, processor => processor.Pe)
                ?? headers.SectionHeaders
                    .Select(section => Truncated(file, section.PointerToRawData, section.SizeOfRawData))
                    .FirstOrDefault(problem => problem is not null);
        }
        catch (BadImageFormatException error)
        {
            return $"damaged, or it ends too early ({file.Length} bytes): {error.Message}";
        }
    }

    private static string? MachOProblem(FileStream file, long begin, long length)
    {
        var header = Read(file, begin, 32);
        if (header[0] == 0xCA)
        {
            // Several libraries in one file, one for each processor.
            const int EntrySize = 20;
            var count = (int)uint.Min(BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(4)), 64);
            var entries = Read(file, begin + 8, EntrySize * count);
            string? problem = "made for no processor";
            for (var i = 0; i < count; i++)
            {
                var entry = entries.AsSpan(i * EntrySize, EntrySize);
                problem = OtherProcessor(BinaryPrimitives.ReadUInt32BigEndian(entry), processor => processor.MachO);
                if (problem is null)
                {
                    var (offset, size) = (BinaryPrimitives.ReadUInt32BigEndian(entry[8..]), BinaryPrimitives.ReadUInt32BigEndian(entry[12..]));
                    return Truncated(file, offset, size) ?? MachOProblem(file, offset, size);
                }
            }
            return problem;
        }
        if (OtherProcessor(BitConverter.ToUInt32(header, 4), processor => processor.MachO) is { } other)
        {
            return other;
        }
        const long Most = 1 << 20;
        var commands = Read(file, begin + 32, (int)long.Min(BitConverter.ToUInt32(header, 20), long.Min(length, Most)));
        for (var at = 0; at + 8 <= commands.Length;)
        {
            const uint Segment64 = 0x19;
            var size = BitConverter.ToUInt32(commands, at + 4);
            if (size < 8 || at + size > commands.Length)
            {
                return "damaged: its Mach-O header makes no sense";
            }
            if (BitConverter.ToUInt32(commands, at) == Segment64 && size >= 56
                && Truncated(file, begin + BitConverter.ToInt64(commands, at + 40), BitConverter.ToInt64(commands, at + 48)) is { } problem)
            {
                return problem;
            }
            at += (int)size;
        }
        return null;
    }

    private static string? Truncated(FileStream file, long offset, long size) =>
        offset < 0 || size < 0 || offset > long.MaxValue - size ? "damaged: its headers make no sense"
        : offset + size > file.Length ? $"truncated: {file.Length} bytes, expected at least {offset + size}"
        : null;

    private static string? OtherProcessor(uint found, Func<(Architecture, uint Elf, uint Pe, uint MachO), uint> number)
    {
        var own = RuntimeInformation.ProcessArchitecture;
        var made = s_processors.Where(processor => number(processor) == found).Select(processor => $"{processor.Architecture}").FirstOrDefault();
        return made == $"{own}" ? null : $"made for {made ?? $"processor {found}"}, this process is {own}";
    }

    private static byte[] Read(FileStream file, long offset, int count)
    {
        file.Position = long.Min(offset, file.Length);
        var bytes = new byte[count];
        file.ReadExactly(bytes);
        return bytes;
    }
}
