using NUnit.Framework;

namespace Adadelta.Training.Tests;

/// <summary>The closed formulas against PyTorch's schedulers, step by step as <c>get_lr</c> of each defines them.</summary>
public class LearningRateScheduleTests
{
    private const double Initial = 0.1;
    private const int Epochs = 40;

    // PyTorch's tests compare its own recursive and closed forms with this tolerance
    private const double Tolerance = 1e-12;

    [Test]
    public void Constant_keeps_the_initial_rate()
    {
        Assert.That(Rates(LearningRateSchedule.Constant()), Is.All.EqualTo(Initial));
    }

    [TestCase(1, 0.5)]
    [TestCase(3, 0.1)]
    [TestCase(7, 1.5)]
    [TestCase(100, 0.1)]
    public void Step_follows_StepLR(int stepSize, double gamma)
    {
        var expected = Recursive(Initial, (epoch, rate) => epoch % stepSize == 0 ? rate * gamma : rate);
        Assert.That(Rates(LearningRateSchedule.Step(stepSize, gamma)), Is.EqualTo(expected).Within(Tolerance).Percent);
    }

    [TestCase(0.9)]
    [TestCase(1.1)]
    public void Exponential_follows_ExponentialLR(double gamma)
    {
        var expected = Recursive(Initial, (_, rate) => rate * gamma);
        Assert.That(Rates(LearningRateSchedule.Exponential(gamma)), Is.EqualTo(expected).Within(Tolerance).Percent);
    }

    [TestCase(10, 0)]
    [TestCase(10, 0.01)]
    [TestCase(7, 0.2)]
    [TestCase(1, 0.01)]
    public void Cosine_follows_CosineAnnealingLR(int epochs, double minimum)
    {
        var expected = CosineAnnealing(epochs, minimum);
        Assert.That(Rates(LearningRateSchedule.Cosine(epochs, minimum)), Is.EqualTo(expected).Within(Tolerance));
    }

    [TestCase(1, 1.0 / 3)]
    [TestCase(4, 0.5)]
    [TestCase(5, 1.0)]
    public void Warmup_follows_LinearLR(int epochs, double startFactor)
    {
        var expected = Recursive(Initial * startFactor, (epoch, rate) => epoch > epochs
            ? rate
            : rate * (1 + (1 - startFactor) / (epochs * startFactor + (epoch - 1) * (1 - startFactor))));
        Assert.That(
            Rates(LearningRateSchedule.Constant().WithWarmup(epochs, startFactor)), Is.EqualTo(expected).Within(Tolerance));
    }

    [Test]
    public void Warmup_and_another_schedule_follow_SequentialLR()
    {
        var warm = Rates(LearningRateSchedule.Constant().WithWarmup(3, 0.25)).Take(3);
        var expected = warm.Concat(CosineAnnealing(10, 0.01)).Take(Epochs);
        Assert.That(
            Rates(LearningRateSchedule.Cosine(10, 0.01).WithWarmup(3, 0.25)), Is.EqualTo(expected).Within(Tolerance));
    }

    [Test]
    public void Examples_of_PyTorchs_documentation()
    {
        var step = LearningRateSchedule.Step(30, 0.1);
        Assert.That(new[] { 0, 29, 30, 59, 60, 89 }.Select(epoch => step.GetLearningRate(0.05, epoch)),
            Is.EqualTo(new[] { 0.05, 0.05, 0.005, 0.005, 0.0005, 0.0005 }).Within(1e-15));
        var linear = LearningRateSchedule.Constant().WithWarmup(4, 0.5);
        Assert.That(Enumerable.Range(0, 6).Select(epoch => linear.GetLearningRate(0.05, epoch)),
            Is.EqualTo(new[] { 0.025, 0.03125, 0.0375, 0.04375, 0.05, 0.05 }).Within(1e-15));
    }

    [TestCase("constant", "constant")]
    [TestCase("step:2", "step:2,0.1")]
    [TestCase("step:2,0.5", "step:2,0.5")]
    [TestCase(" Exponential:0.9 ", "exponential:0.9")]
    [TestCase("cosine:10", "cosine:10,0")]
    [TestCase("cosine:10,1e-3", "cosine:10,0.001")]
    [TestCase("warmup:2,0.1", "warmup:2,0.1+constant")]
    [TestCase("warmup:2,0.25+cosine:10", "warmup:2,0.25+cosine:10,0")]
    [TestCase("warmup:2, 0.25 + step: 3", "warmup:2,0.25+step:3,0.1")]
    public void Parse_reads_what_ToString_writes(string text, string canonical)
    {
        using var culture = new DecimalComma();
        var schedule = LearningRateSchedule.Parse(text);
        Assert.That(schedule.ToString(), Is.EqualTo(canonical));
        Assert.That(Rates(LearningRateSchedule.Parse(canonical)), Is.EqualTo(Rates(schedule)));
    }

    [Test]
    public void Parse_gives_the_same_rates_as_the_factories()
    {
        Assert.That(Rates(LearningRateSchedule.Parse("warmup:2+step:3,0.5")),
            Is.EqualTo(Rates(LearningRateSchedule.Step(3, 0.5).WithWarmup(2))));
        Assert.That(LearningRateSchedule.Parse("constant"), Is.SameAs(LearningRateSchedule.Constant()));
    }

    [TestCase("", "'' is not known")]
    [TestCase("linear:3", "'linear' is not known; expected constant, step:SIZE[,GAMMA]")]
    [TestCase("constant:1", "constant has 1 numbers, expected 0")]
    [TestCase("step", "step has 0 numbers, expected 1 to 2")]
    [TestCase("step:", "stepSize: '', expected a whole number")]
    [TestCase("step:2.5", "stepSize: '2.5', expected a whole number")]
    [TestCase("step:0", "stepSize: 0, expected stepSize >= 1")]
    [TestCase("step:2,x", "gamma: 'x', expected a number")]
    [TestCase("step:2,0", "gamma: 0, expected a finite factor > 0")]
    [TestCase("step:2,0.5,3", "step has 3 numbers, expected 1 to 2")]
    [TestCase("exponential:nan", "gamma: NaN, expected a finite factor > 0")]
    [TestCase("exponential:1e999", "gamma: Infinity, expected a finite factor > 0")]
    [TestCase("cosine:-1", "epochs: -1, expected epochs >= 1")]
    [TestCase("cosine:5,-0.1", "minimum: -0.1, expected a finite rate >= 0")]
    [TestCase("warmup:2,1.5", "startFactor: 1.5, expected 0 < startFactor <= 1")]
    [TestCase("warmup:2+", "'' is not known")]
    [TestCase("step:2+cosine:3", "only a warm-up can stand before '+'")]
    public void Parse_names_what_is_wrong(string text, string message)
    {
        Assert.That(() => LearningRateSchedule.Parse(text),
            Throws.TypeOf<FormatException>().With.Message.Contains(message).And.Message.Not.Contains("Parameter"));
    }

    [Test]
    public void A_rate_or_epoch_out_of_bounds_is_refused()
    {
        var schedule = LearningRateSchedule.Constant();
        Assert.That(() => schedule.GetLearningRate(0.1, -1),
            Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.StartsWith("epoch: -1, expected epoch >= 0"));
        Assert.That(() => schedule.GetLearningRate(double.NaN, 0),
            Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.StartsWith("initial: NaN, expected a finite rate >= 0"));
    }

    private static double[] Rates(LearningRateSchedule schedule) =>
        [.. Enumerable.Range(0, Epochs).Select(epoch => schedule.GetLearningRate(Initial, epoch))];

    private static double[] Recursive(double first, Func<int, double, double> next)
    {
        var rates = new double[Epochs];
        rates[0] = first;
        for (var epoch = 1; epoch < Epochs; epoch++)
        {
            rates[epoch] = next(epoch, rates[epoch - 1]);
        }
        return rates;
    }

    private static double[] CosineAnnealing(int tMax, double etaMin) => Recursive(Initial, (epoch, rate) =>
        (epoch - 1 - tMax) % (2 * tMax) == 0
            ? rate + (Initial - etaMin) * (1 - Math.Cos(Math.PI / tMax)) / 2
            : (1 + Math.Cos(Math.PI * epoch / tMax)) / (1 + Math.Cos(Math.PI * (epoch - 1) / tMax)) * (rate - etaMin) + etaMin);
}
