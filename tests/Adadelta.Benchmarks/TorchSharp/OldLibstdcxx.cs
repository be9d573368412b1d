using System.Buffers.Binary;

namespace Adadelta.Benchmarks;

/// <summary>
/// Lets TorchSharp 0.107.0 load where libstdc++ is older than GCC 13's. Its libLibTorchSharp.so needs the symbol version
/// GLIBCXX_3.4.32 for one symbol alone, a marker of &lt;iostream&gt; that no relocation uses. The flag VER_FLG_WEAK on that need
/// turns the loader's refusal into a warning; nothing else of the file changes.
/// </summary>
internal static class OldLibstdcxx
{
    private const uint VersionNeedSection = 0x6ffffffe;
    private const ushort Weak = 2;

    public static void Allow(string path)
    {
        var elf = File.ReadAllBytes(path);
        var changed = false;
        var sections = (int)U64(0x28);
        int sectionSize = U16(0x3a), sectionCount = U16(0x3c);
        for (var section = sections; section < sections + sectionSize * sectionCount; section += sectionSize)
        {
            if (U32(section + 4) != VersionNeedSection)
            {
                continue;
            }
            var strings = (int)U64(sections + (int)U32(section + 0x28) * sectionSize + 0x18);
            var library = (int)U64(section + 0x18);
            for (var libraries = U32(section + 0x2c); libraries > 0; libraries--, library += (int)U32(library + 12))
            {
                var version = library + (int)U32(library + 8);
                for (int versions = U16(library + 2); versions > 0; versions--, version += (int)U32(version + 12))
                {
                    if (elf.AsSpan(strings + (int)U32(version + 8)).StartsWith("GLIBCXX_3.4.32\0"u8) && (U16(version + 4) & Weak) == 0)
                    {
                        BinaryPrimitives.WriteUInt16LittleEndian(elf.AsSpan(version + 4), (ushort)(U16(version + 4) | Weak));
                        changed = true;
                    }
                }
            }
        }
        if (changed)
        {
            // A new file in its place: the old one may be a hard link into NuGet's cache.
            File.WriteAllBytes(path + ".new", elf);
            File.Move(path + ".new", path, overwrite: true);
        }

        ushort U16(int at) => BinaryPrimitives.ReadUInt16LittleEndian(elf.AsSpan(at));
        uint U32(int at) => BinaryPrimitives.ReadUInt32LittleEndian(elf.AsSpan(at));
        ulong U64(int at) => BinaryPrimitives.ReadUInt64LittleEndian(elf.AsSpan(at));
    }
}
