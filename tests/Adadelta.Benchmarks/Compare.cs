using System.CommandLine;
using static System.FormattableString;

namespace Adadelta.Benchmarks;

/// <summary>
/// <c>compare</c>: each case on each side in turn, round by round, every side in a process of its own; before that, that all
/// sides compute the same. Writes a CSV file, a table and a plot.
/// </summary>
internal static class Compare
{
    public const string Ours = "Adadelta.Native", TorchSharp = "TorchSharp", Cpp = "C++", Loop = "hand-written loop";

    // Steps differ by the order in which float32 sums are taken; what separates two right programs after a few of them is
    // below this, while another stride, another order of layers or another formula changes the first or second digit.
    private const double Tolerance = 2e-4;

    // libtorch has no allocator of its own on the CPU: by default each large temporary is mapped and unmapped again.
    private static readonly (string Name, string Value) s_malloc = ("GLIBC_TUNABLES",
        "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592");

    public static Command Command()
    {
        Option<string[]> cases = new("--case") { Description = "Cases to run [default: all]", AllowMultipleArgumentsPerToken = true };
        Option<int[]> threads = new("--threads")
        {
            Description = "Numbers of threads",
            AllowMultipleArgumentsPerToken = true,
            DefaultValueFactory = _ => [1, 2],
        };
        Option<int> rounds = new("--rounds") { Description = "Rounds", DefaultValueFactory = _ => 9 };
        Option<int> time = new("--milliseconds") { Description = "Time of a side in a round", DefaultValueFactory = _ => 200 };
        Option<string> output = new("--output")
        {
            Description = "Folder of compare.csv, compare.md and compare.svg; rows of cases that are not run stay",
            DefaultValueFactory = _ => Programs.Results,
        };
        Option<bool> noTorch = new("--no-torchsharp") { Description = "Leave TorchSharp out" };
        Option<bool> noBuild = new("--no-build") { Description = "Take TorchSharp's and the native programs as they are" };
        Command command = new("compare", "Training steps and optimizer steps beside TorchSharp, C++ and a hand-written loop")
        {
            cases, threads, rounds, time, output, noTorch, noBuild,
        };
        command.SetAction(result =>
        {
            var torch = !result.GetValue(noTorch);
            if (!result.GetValue(noBuild))
            {
                Programs.Build(torch);
            }
            var problems = result.GetValue(cases) is { Length: > 0 } names ? names.Select(Problem.Find).ToArray() : [.. Problem.All];
            CompareReport report = new(result.GetValue(output)!);
            foreach (var problem in problems)
            {
                foreach (var count in result.GetValue(threads)!)
                {
                    report.Add(Run(problem, count, result.GetValue(rounds), result.GetValue(time), torch));
                }
            }
            report.Write();
            return report.SidesAgree ? 0 : 1;
        });
        return command;
    }

    private static List<CompareRow> Run(Problem problem, int threads, int rounds, int milliseconds, bool torch)
    {
        List<Side> sides = [];
        try
        {
            sides.AddRange(Sides(problem, threads, torch));
            for (var round = 0; round < rounds; round++)
            {
                // who comes first changes, so that no side always follows the same other
                for (var i = 0; i < sides.Count; i++)
                {
                    sides[(round + i) % sides.Count].Measure(milliseconds);
                }
            }
            return [.. sides.Select(side => CompareRow.Of(problem, threads, side, sides[0], Differs(side, sides[0])))];
        }
        finally
        {
            sides.ForEach(side => side.Dispose());
        }
    }

    private static IEnumerable<Side> Sides(Problem problem, int threads, bool torch)
    {
        var count = Invariant($"{threads}");
        yield return Side.Start(Ours, [.. Programs.Ours, "worker", problem.Name, count]);
        if (torch)
        {
            string[] peer = [.. Programs.TorchSharp, "worker", problem.Name, count];
            yield return Side.Start($"{TorchSharp} as written", [.. peer, "Written"]);
            yield return Side.Start($"{TorchSharp} fast", [.. peer, "Fast"], s_malloc);
            if (problem is NetworkProblem)
            {
                yield return Side.Start($"{TorchSharp} fast, channels last", [.. peer, "FastChannelsLast"], s_malloc);
            }
        }
        if (!File.Exists(Programs.Native))
        {
            yield break;
        }
        if (problem is OptimizerProblem optimizer)
        {
            yield return Side.Start(Loop, [Programs.Native, "loop", Invariant($"{optimizer.Elements}"), count]);
        }
        else if (problem is NetworkProblem { Train: true } && problem.Name.StartsWith("reference", StringComparison.Ordinal))
        {
            yield return Side.Start(Cpp, [Programs.Native, "train", Invariant($"{((NetworkProblem)problem).Batch}"), count]);
        }
    }

    // C++ and the loop have weights and data of their own, and say nothing
    private static bool Differs(Side side, Side ours)
    {
        var worst = side.Checks.Zip(ours.Checks, (theirs, mine) => Math.Abs(theirs - mine) / Math.Abs(mine)).DefaultIfEmpty().Max();
        if (worst <= Tolerance)
        {
            return false;
        }
        Console.Error.WriteLine(Invariant(
            $"{side.Name}: {string.Join(' ', side.Checks)}, expected {string.Join(' ', ours.Checks)} within {Tolerance}"));
        return true;
    }
}
