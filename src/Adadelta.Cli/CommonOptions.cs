using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Numerics;
using Adadelta.Native;
using static System.FormattableString;

namespace Adadelta.Cli;

/// <summary>Options that check their value while the command line is read, before any work is done.</summary>
internal static class CommonOptions
{
    private const int MostThreads = 256;

    public static Option<int> Integer(string name, string description, int value, int least, int most = int.MaxValue) =>
        Number(
            name, description, value, NumberStyles.AllowLeadingSign, number => number >= least && number <= most,
            Bound(least, most));

    /// <summary>A whole number >= 1 that may be left out.</summary>
    public static Option<int?> Count(string name, string description) => new(name)
    {
        Description = description,
        HelpName = "N",
        CustomParser = result =>
            Parse<int>(result, name, NumberStyles.AllowLeadingSign, number => number >= 1, Bound(1, int.MaxValue)),
    };

    public static Option<double> Real(string name, string description, double value, double most = double.MaxValue) =>
        Number(
            name, description, value, NumberStyles.Float, number => number >= 0 && number <= most,
            most == double.MaxValue ? "a finite number >= 0" : Invariant($"0 <= number <= {most}"));

    public static Option<ulong> Seed() =>
        Number(
            "--seed", "Seed of the first weights, the shuffling and dropout", 1UL, NumberStyles.None, _ => true,
            $"a whole number from 0 to {ulong.MaxValue}");

    public static Option<string?> Text(string name, string description, string helpName)
    {
        Option<string?> option = new(name) { Description = description, HelpName = helpName };
        option.Validators.Add(result =>
        {
            if (result.Tokens is [{ Value: "" }])
            {
                result.AddError($"{name}: '', expected {helpName}");
            }
        });
        return option;
    }

    public static Option<string?> Data(string description) => Text("--data", description, "mnist|digits|DIR");

    public static Option<string?> DataDir() =>
        Text("--data-dir", "Folder of MNIST's files [default: $ADADELTA_DATA_DIR, else the user's cache]", "DIR");

    public static Option<string?> Network(string description) => Text("--network", description, "FILE.json");

    public static Option<string?> Model() =>
        Text(
            "--model",
            $"Output folder of a training, or a safetensors file [default: {OutputFolder.Default}, or the latest of its numbered ones]",
            "DIR|FILE");

    public static Option<bool> Transpose() => new("--transpose")
    {
        Description = "Swap rows and columns of the data set's images: EMNIST's files hold them so",
    };

    public static Option<int> Threads() => Integer("--threads", "CPU threads; 0 takes one for each core", 0, 0, MostThreads);

    /// <summary>An option that may stand alone, without its value.</summary>
    public static Option<string?> OptionalText(string name, string description, string helpName)
    {
        Option<string?> option = Text(name, description, helpName);
        option.Arity = ArgumentArity.ZeroOrOne;
        return option;
    }

    public static Option<Device> Device() => new("--device")
    {
        Description = "Where to compute: auto (CUDA where it works, else the CPU), cpu or cuda[:N] [default: auto]",
        HelpName = "DEVICE",
        CustomParser = result =>
        {
            string text = result.Tokens[0].Value;
            if (text == "auto")
            {
                return Native.Device.Auto;
            }

            if (text == "cpu")
            {
                return Native.Device.Cpu;
            }

            if (text == "cuda")
            {
                return Native.Device.Cuda(0);
            }

            if (text.StartsWith("cuda:", StringComparison.Ordinal)
                && int.TryParse(text.AsSpan(5), NumberStyles.None, CultureInfo.InvariantCulture, out int index))
            {
                return Native.Device.Cuda(index);
            }

            result.AddError($"--device: {(text.Length == 0 ? "''" : text)}, expected auto, cpu, cuda or cuda:N with a number N >= 0");
            return default;
        },
    };

    /// <summary>Makes the context that --device and --threads ask for, and warns of threads that have no processor.</summary>
    /// <exception cref="UsageException">The device is not here.</exception>
    public static ComputeContext OpenContext(Device device, int threads)
    {
        if (threads > Environment.ProcessorCount)
        {
            Failure.Warn(Invariant(
                $"--threads: {threads}, more than the {Environment.ProcessorCount} processors that this process may use: they wait for each other"));
        }

        try
        {
            return ComputeContext.Create(device, threads);
        }
        catch (Exception e) when (device.Type == DeviceType.Cuda && e is NotSupportedException or ArgumentException)
        {
            string reason = NativeLibraryInfo.BackendReason("cuda");
            throw new UsageException($"--device: {device}: {(reason.Length > 0 ? reason : e.Message)}");
        }
    }

    private static Option<T> Number<T>(
        string name, string description, T value, NumberStyles style, Predicate<T> valid, string bound)
        where T : struct, INumber<T> => new(name)
        {
            Description = description,
            HelpName = "N",
            DefaultValueFactory = _ => value,
            CustomParser = result => Parse(result, name, style, valid, bound),
        };

    private static T Parse<T>(ArgumentResult result, string name, NumberStyles style, Predicate<T> valid, string bound)
        where T : struct, INumber<T>
    {
        string text = result.Tokens[0].Value;
        if (T.TryParse(text, style, CultureInfo.InvariantCulture, out T number) && valid(number))
        {
            return number;
        }

        result.AddError($"{name}: {(text.Length == 0 ? "''" : text)}, expected {bound}");
        return default;
    }

    private static string Bound(int least, int most) =>
        most == int.MaxValue ? $"a whole number >= {least}" : $"a whole number from {least} to {most}";
}
