using System.CommandLine;
using System.Globalization;
using Adadelta.Benchmarks;

CultureInfo.DefaultThreadCurrentCulture = CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;

// what Compare starts for this library's side
if (args is ["worker", var name, var threads])
{
    using var work = OurWork.Create(Problem.Find(name), int.Parse(threads, CultureInfo.InvariantCulture));
    Worker.Run(work);
    return 0;
}

RootCommand root = new("Measures this library, beside TorchSharp and beside what the machine can do.")
{
    Compare.Command(),
};
return root.Parse(args).Invoke();
