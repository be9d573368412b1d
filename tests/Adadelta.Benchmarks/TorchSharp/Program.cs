using System.Globalization;
using Adadelta.Benchmarks;

switch (args)
{
    case ["fix-native"]:
        OldLibstdcxx.Allow(Path.Combine(AppContext.BaseDirectory, "libLibTorchSharp.so"));
        return 0;
    case [("worker" or "once") and var how, var name, var threads, var mode]:
        using (var work = TorchWork.Create(
            Problem.Find(name), int.Parse(threads, CultureInfo.InvariantCulture), Enum.Parse<TorchMode>(mode)))
        {
            Action<IWork> run = how == "once" ? Worker.RunOnce : Worker.Run;
            run(work);
        }
        return 0;
    default:
        Console.Error.WriteLine("expected: worker or once CASE THREADS MODE, or fix-native");
        return 2;
}
