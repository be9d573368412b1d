using System.Globalization;
using System.Text.RegularExpressions;

namespace Adadelta.Native.Interop;

/// <summary>
/// What the native side says about a refused call, in the words of the C# caller. It names arguments and members as C does
/// (<c>options.rho: 1.1, expected 0 &lt;= rho &lt;= 1</c>); here they become C#'s, and numbers of enumerations their members.
/// </summary>
/// <param name="Text">The message.</param>
/// <param name="Argument">What stands before its first colon, e.g. <c>options.Rho</c>; null when it names no argument.</param>
/// <param name="IsNull">Whether the argument is missing.</param>
/// <param name="IsOutOfRange">Whether a number is outside of bounds, or an enumeration has no such member.</param>
internal readonly partial record struct NativeMessage(string Text, string? Argument, bool IsNull, bool IsOutOfRange)
{
    // Where C# has another name than the native one in C#'s spelling.
    private static readonly Dictionary<string, string> s_members = new()
    {
        ["lr"] = "LearningRate",
        ["square_avg"] = "SquareAverage",
        ["acc_delta"] = "AccumulatedDelta",
        ["name"] = "name",
        ["adn_network_clone"] = "Network.Clone",
    };

    private static readonly Dictionary<string, Func<int, string?>> s_values = new()
    {
        ["device_type"] = value => Enum.GetName((DeviceType)value),
        ["instruction_set"] = value => Enum.GetName((InstructionSet)value),
        ["dtype"] = value => Enum.GetName((ElementType)value),
        ["reduction"] = value => Enum.GetName((Reduction)value),
        ["zero_eps"] = value => Enum.GetName((ZeroEps)value),
        ["foreach"] = value => value switch { 0 => "null", 1 => "false", 2 => "true", _ => null },
        ["maximize"] = Flag,
        ["capturable"] = Flag,
        ["differentiable"] = Flag,
        ["master_weights"] = Flag,
        ["zero_gradients"] = Flag,
        ["skip_nonfinite"] = Flag,
        ["input_gradient"] = Flag,
        ["inference"] = Flag,
    };

    /// <summary>Translates a message.</summary>
    /// <param name="message">The native message.</param>
    /// <param name="names">
    /// C#'s names of the call's arguments where they are not the native ones in C#'s spelling, as <c>native=C#;native=C#</c>. In
    /// C#'s name <c>[]</c> stands for the native index, and <c>argument (word)</c> says that <c>word</c> of the argument is meant.
    /// </param>
    /// <param name="reason">Whether what follows the argument is a reason that is not about arguments, e.g. a loader's.</param>
    /// <returns>The translation.</returns>
    internal static NativeMessage Translate(string message, string names = "", bool reason = false)
    {
        var aliases = names.Split(';', StringSplitOptions.RemoveEmptyEntries).Select(pair => pair.Split('='))
            .ToDictionary(pair => pair[0], pair => pair[1]);
        var layer = LayerPattern().Match(message);
        if (layer.Success)
        {
            aliases["out_features"] = layer.Groups["kind"].Value == nameof(LayerKind.Conv2d) ? "outChannels" : "outFeatures";
            foreach (var size in (string[])["kernel", "stride", "padding", "dilation"])
            {
                aliases[$"{size}[0]"] = $"{size}.{nameof(Size2.Height)}";
                aliases[$"{size}[1]"] = $"{size}.{nameof(Size2.Width)}";
            }
        }
        var body = message[layer.Length..];
        var head = HeadPattern().Match(body);
        if (!head.Success)
        {
            var text = layer.Value + (reason ? body : Words(body, aliases, "", ""));
            return new(text, layer.Success ? layer.Groups["name"].Value : null, IsNull: false, IsOutOfRange: false);
        }
        var path = head.Groups["path"].Value;
        var rest = body[head.Length..];
        var word = IndexPattern().Replace(path[(path.LastIndexOf('.') + 1)..], "");
        var (name, shortName) = Name(path, aliases);
        var unknown = false;
        if (s_values.TryGetValue(word, out var member))
        {
            (rest, unknown) = Members(rest, member, reason);
        }
        if (!reason)
        {
            rest = Words(rest, aliases, word, shortName);
        }
        rest = NotFinitePattern().Replace(rest, match => match.Groups["sign"].Value + (match.Groups["nan"].Success ? "NaN" : "Infinity"));
        var number = NumberPattern().Match(rest);
        var argument = name.Contains(" (", StringComparison.Ordinal) ? name[..name.IndexOf(" (", StringComparison.Ordinal)] : name;
        return new(
            $"{layer.Value}{name}: {rest}", argument, IsNull: rest == "null",
            IsOutOfRange: unknown || (number.Success && BoundPattern().IsMatch(rest, number.Length)));
    }

    private static string? Flag(int value) => value switch { 0 => "false", 1 => "true", _ => null };

    // The argument's name, and that by which the bound calls it.
    private static (string Name, string ShortName) Name(string path, Dictionary<string, string> aliases)
    {
        // The longest part of the path that the call has a name for; the rest are members.
        for (var end = path.Length; end > 0; end = path.LastIndexOfAny(['.', '['], end - 1))
        {
            if (!aliases.TryGetValue(path[..end], out var name))
            {
                continue;
            }
            var members = path[end..];
            if (name.Contains("[]", StringComparison.Ordinal))
            {
                var index = IndexPattern().Match(members);
                name = name.Replace("[]", index.Value, StringComparison.Ordinal);
                members = members[index.Length..];
            }
            if (members.Length == 0)
            {
                var unit = name.IndexOf(" (", StringComparison.Ordinal);
                return (name, unit < 0 ? name : name[(unit + 2)..^1]);
            }
            var (tail, last) = Members(members);
            return (name + tail, last);
        }
        var first = path.IndexOfAny(['.', '[']);
        var argument = Camel(first < 0 ? path : path[..first]);
        if (first < 0)
        {
            return (argument, argument);
        }
        var (rest, word) = Members(path[first..]);
        return (argument + rest, word.Length == 0 ? argument : word);
    }

    // ".square_avg" becomes ".SquareAverage"; the index of a two-dimensional size its member.
    private static (string Path, string Last) Members(string path)
    {
        var last = "";
        var members = MemberPattern().Replace(path, match =>
        {
            last = Pascal(match.Groups["member"].Value);
            return "." + last;
        });
        return (members, last);
    }

    // "2 (CUDA), expected 0 (auto) or 1 (CPU)" in the words of an enumeration; of a reason, only the value before it.
    private static (string Text, bool Unknown) Members(string rest, Func<int, string?> member, bool reason)
    {
        var unknown = false;
        var expected = rest.IndexOf(", expected", StringComparison.Ordinal);
        var text = ValuePattern().Replace(rest, match =>
        {
            var isValue = match.Index == 0;
            if (!isValue && (reason || expected < 0 || match.Index < expected))
            {
                return match.Value;
            }
            var name = member(int.Parse(match.Groups["number"].Value, CultureInfo.InvariantCulture));
            unknown |= isValue && name is null;
            return name ?? match.Value;
        });
        return (text, unknown);
    }

    private static string Words(string text, Dictionary<string, string> aliases, string headWord, string headName) =>
        WordPattern().Replace(text, match =>
        {
            if (match.Groups["quoted"].Success)
            {
                return match.Value;
            }
            var word = match.Groups["word"].Value;
            var rest = match.Value[word.Length..];
            if (match.Groups["number"].Success && s_values.TryGetValue(word, out var member))
            {
                var number = int.Parse(match.Groups["number"].Value, CultureInfo.InvariantCulture);
                return $"{aliases.GetValueOrDefault($"options.{word}") ?? Pascal(word)} {member(number) ?? match.Groups["number"].Value}";
            }
            return word switch
            {
                "NULL" => "null",
                "mode TRAIN" => "training",
                _ when word == headWord => headName,
                _ when word.Contains('.', StringComparison.Ordinal) => Name(word, aliases).Name,
                _ when word.Contains('_', StringComparison.Ordinal) => aliases.GetValueOrDefault(word) ?? Pascal(word),
                _ => word,
            } + rest;
        });

    private static string Pascal(string word) =>
        s_members.GetValueOrDefault(word)
        ?? string.Concat(word.Split('_').Select(part => part.Length == 0 ? part : char.ToUpperInvariant(part[0]) + part[1..]));

    private static string Camel(string word)
    {
        var pascal = Pascal(word);
        return char.ToLowerInvariant(pascal[0]) + pascal[1..];
    }

    [GeneratedRegex(@"^layer (?<name>\S+) \((?<kind>\w+)\): ", RegexOptions.CultureInvariant)]
    private static partial Regex LayerPattern();

    [GeneratedRegex(@"^(?<path>[a-z]\w*( [a-z]+)?(\[\d+\])?(\.[a-z]\w*(\[\d+\])?)*): ", RegexOptions.CultureInvariant)]
    private static partial Regex HeadPattern();

    [GeneratedRegex(@"\[\d+\]", RegexOptions.CultureInvariant)]
    private static partial Regex IndexPattern();

    [GeneratedRegex(@"\.(?<member>\w+)", RegexOptions.CultureInvariant)]
    private static partial Regex MemberPattern();

    [GeneratedRegex(@"(?<![\w^.])(?<number>-?\d{1,10})(?![\w.])( \([^)]*\))?", RegexOptions.CultureInvariant)]
    private static partial Regex ValuePattern();

    [GeneratedRegex(
        "(?<quoted>\"[^\"]*\")|(?<word>mode TRAIN|\\bNULL\\b|\\b[a-z][a-z0-9]*(_[a-z0-9]+)*(\\.[a-z][a-z0-9]*(_[a-z0-9]+)*)*\\b)( (?<number>\\d{1,9})\\b( \\([^)]*\\))?)?",
        RegexOptions.CultureInvariant)]
    private static partial Regex WordPattern();

    [GeneratedRegex(@"^(-?[\d.]+(e[+-]?\d+)?|-?Infinity|NaN), expected ", RegexOptions.CultureInvariant)]
    private static partial Regex NumberPattern();

    [GeneratedRegex(@"^(?<sign>-?)(inf|(?<nan>nan))(?=, )", RegexOptions.CultureInvariant)]
    private static partial Regex NotFinitePattern();

    [GeneratedRegex(@"[<>]|at most|at least|less than", RegexOptions.CultureInvariant)]
    private static partial Regex BoundPattern();
}
