using System.CommandLine;
using System.Globalization;
using Adadelta.Benchmarks;

CultureInfo.DefaultThreadCurrentCulture = CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;

switch (args)
{
    // what Compare and Startup start for this library's side
    case [("worker" or "once") and var how, var name, var threads]:
        using (var work = OurWork.Create(Problem.Find(name), int.Parse(threads, CultureInfo.InvariantCulture)))
        {
            Action<IWork> run = how == "once" ? Worker.RunOnce : Worker.Run;
            run(work);
        }
        return 0;
    // options are BenchmarkDotNet's
    case ["pieces", .. var rest]:
        Pieces.Run(rest);
        return 0;
}

RootCommand root = new("Measures this library, beside TorchSharp and beside what the machine can do.")
{
    Compare.Command(),
    Startup.Command(),
    DataCost.Command(),
    new Command("pieces", "Single calls of the API, by BenchmarkDotNet, whose options it takes"),
};
return root.Parse(args).Invoke();
