using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using CsvHelper;
using CsvHelper.Configuration;

namespace Adadelta.Training;

/// <summary>A row of a CSV file: the number of its line, from 1, and the line without its end.</summary>
internal readonly record struct CsvRow(int Line, string Text, string[] Values);

/// <summary>Comma-separated values that need no quotes: names of columns, and numbers.</summary>
/// <remarks>
/// CsvHelper reads and writes them. It can also make objects of rows, by reflection, which nothing here asks for, but the trimmer
/// cannot tell and warns. So programs that are published trimmed or compiled ahead of time have the switch off
/// (build/Adadelta.Training.targets), the trimmer leaves CsvHelper out, and the few lines here stand in for it.
/// </remarks>
internal static class Csv
{
    internal const string Switch = "Adadelta.Training.UseCsvHelper";

    [FeatureSwitchDefinition(Switch)]
    private static bool UseCsvHelper => !AppContext.TryGetSwitch(Switch, out bool use) || use;

    internal static void Write(TextWriter text, IEnumerable<string[]> rows)
    {
        if (UseCsvHelper)
        {
            WriteByCsvHelper(text, rows);
            return;
        }
        foreach (var row in rows)
        {
            text.Write(string.Join(',', row));
            text.Write('\n');
        }
    }

    /// <summary>The rows, header included, without empty lines.</summary>
    /// <exception cref="InvalidDataException">A line is not comma-separated values; the message begins with the path.</exception>
    internal static IEnumerable<CsvRow> Read(string path, TextReader text) =>
        UseCsvHelper ? ReadByCsvHelper(path, text) : ReadPlainly(path, text);

    private static IEnumerable<CsvRow> ReadPlainly(string path, TextReader text)
    {
        for (var number = 1; text.ReadLine() is { } line; number++)
        {
            if (line.Contains('"', StringComparison.Ordinal))
            {
                throw new InvalidDataException($"{path}, line {number}: '{line}', expected comma-separated values without quotes");
            }
            if (line.Length > 0)
            {
                yield return new CsvRow(number, line, line.Split(','));
            }
        }
    }

    private static void WriteByCsvHelper(TextWriter text, IEnumerable<string[]> rows)
    {
        using var csv = new CsvWriter(text, new CsvConfiguration(CultureInfo.InvariantCulture) { NewLine = "\n" }, leaveOpen: true);
        foreach (var row in rows)
        {
            foreach (var value in row)
            {
                csv.WriteField(value);
            }
            csv.NextRecord();
        }
    }

    private static IEnumerable<CsvRow> ReadByCsvHelper(string path, TextReader text)
    {
        using var parser = new CsvParser(text, CultureInfo.InvariantCulture, leaveOpen: true);
        while (Next(path, parser) is { } row)
        {
            yield return row;
        }
    }

    private static CsvRow? Next(string path, CsvParser parser)
    {
        try
        {
            return parser.Read() ? new CsvRow(parser.RawRow, RawText(parser), parser.Record ?? []) : null;
        }
        catch (CsvHelperException error)
        {
            throw new InvalidDataException($"{path}, line {parser.RawRow}: '{RawText(parser)}', expected comma-separated values", error);
        }
    }

    private static string RawText(CsvParser parser) => parser.RawRecord.TrimEnd('\r', '\n');
}
