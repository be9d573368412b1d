using Adadelta.Native;
using NUnit.Framework;
using static Adadelta.Training.Tests.TinyProblem;

namespace Adadelta.Training.Tests;

public class EvaluationTests
{
    // 2 full batches and a short one
    private readonly ImageDataset _data = Images(2 * 16 + 9, seed: 3);

    [Test]
    public void Loss_accuracy_and_confusion_matrix_are_those_of_a_naive_count([Values] Reduction reduction)
    {
        using var setup = new Setup(reduction: reduction);
        new Trainer(setup.Network, setup.Optimizer) { BatchSize = 16 }.Fit(Images(64), 2);
        var evaluation = Trainer.Evaluate(setup.Network, _data);

        var confusion = new int[Classes, Classes];
        double loss = 0;
        var image = new float[64];
        var logits = new float[Classes];
        for (var i = 0; i < _data.Count; i++)
        {
            Pixels.Scale(_data.Image(i), image);
            setup.Network.Forward(image, logits);
            int label = _data.Labels.Span[i];
            confusion[label, Array.IndexOf(logits, logits.Max())]++;
            loss += Math.Log(logits.Sum(logit => Math.Exp(logit))) - logits[label];
        }
        Assert.That(evaluation.Count, Is.EqualTo(_data.Count));
        Assert.That(evaluation.ConfusionMatrix, Is.EqualTo(confusion));
        var right = Enumerable.Range(0, Classes).Sum(i => confusion[i, i]);
        Assert.That(evaluation.Accuracy, Is.EqualTo(right / (double)_data.Count));
        // the network adds up a batch's loss in float32
        Assert.That(evaluation.Loss, Is.EqualTo(loss / _data.Count).Within(1e-4).Percent);
    }

    [Test]
    public void The_first_of_equal_outputs_is_the_prediction()
    {
        using var setup = new Setup();
        foreach (var parameter in setup.Network.Parameters)
        {
            parameter.Value.Fill(0);
        }
        var evaluation = Trainer.Evaluate(setup.Network, _data);
        for (var label = 0; label < Classes; label++)
        {
            Assert.That(evaluation.ConfusionMatrix[label, 0], Is.EqualTo(_data.Labels.Span.Count((byte)label)));
        }
        Assert.That(evaluation.Loss, Is.EqualTo(Math.Log(Classes)).Within(1e-5).Percent);
        Assert.That(evaluation.Accuracy, Is.EqualTo(_data.Labels.Span.Count((byte)0) / (double)_data.Count));
    }

    [Test]
    public void An_evaluation_changes_nothing_and_drops_nothing()
    {
        using var setup = new Setup(dropout: true);
        var weights = setup.Weights();
        var first = Trainer.Evaluate(setup.Network, _data);
        var second = new Trainer(setup.Network, setup.Optimizer).Evaluate(_data);
        Assert.That((second.Loss, second.Accuracy, second.Count), Is.EqualTo((first.Loss, first.Accuracy, first.Count)));
        Assert.That(second.ConfusionMatrix, Is.EqualTo(first.ConfusionMatrix));
        Assert.That(setup.Weights(), Is.EqualTo(weights));
        Assert.That(setup.Network.Step, Is.Zero);
    }

    [Test]
    public void A_network_may_have_more_outputs_than_the_data_has_classes()
    {
        using var context = ComputeContext.Create(Device.Cpu);
        using var network = new NetworkBuilder(1, 8, 8).Flatten().Linear(Classes + 2).Build(context, maxBatchSize: 100);
        var confusion = Trainer.Evaluate(network, _data).ConfusionMatrix;
        Assert.That((confusion.GetLength(0), confusion.GetLength(1)), Is.EqualTo((Classes + 2, Classes + 2)));
        Assert.That(confusion.Cast<int>().Sum(), Is.EqualTo(_data.Count));
    }

    [Test]
    public void Outputs_that_are_not_numbers_are_an_error_that_names_the_image()
    {
        using var setup = new Setup();
        setup.Network.GetParameter("fc1.bias").Value.Write([0, float.NaN, 0]);
        Assert.That(() => Trainer.Evaluate(setup.Network, _data), Throws.TypeOf<NotFiniteNumberException>().With.Message.StartsWith(
            "output 1 of the network is NaN for image 0 of data set 'tiny', expected a finite number"));
        setup.Network.GetParameter("fc1.bias").Value.Write([0, float.PositiveInfinity, 0]);
        Assert.That(() => Trainer.Evaluate(setup.Network, _data), Throws.TypeOf<NotFiniteNumberException>());
    }

    // 65,536 images of 40,000 outputs are 2.6 milliard floats, more than an array holds.
    [Test]
    public void A_batch_is_smaller_where_its_outputs_would_not_fit_an_array()
    {
        Assert.That(Evaluation.BatchSize(65_536, 70_000, 40_000), Is.EqualTo((1 << 26) / 40_000));
        Assert.That(Evaluation.BatchSize(64, 10_000, 10), Is.EqualTo(64));
        Assert.That(Evaluation.BatchSize(64, 9, 10), Is.EqualTo(9));
        Assert.That(Evaluation.BatchSize(64, 10_000, int.MaxValue), Is.EqualTo(1));
    }

    [Test]
    public void Outputs_too_many_for_a_confusion_matrix_are_refused_but_not_by_a_run_s_test()
    {
        using var context = ComputeContext.Create(Device.Cpu);
        using var network = new NetworkBuilder(1, 8, 8).Flatten().Linear(50_000).Build(context, maxBatchSize: 4);
        using var optimizer = new AdadeltaOptimizer(network.Parameters);
        Assert.That(() => Trainer.Evaluate(network, _data), Throws.ArgumentException.With.Message.StartsWith(
            $"network: 50000 outputs make a confusion matrix of 2500000000 elements, expected at most {Array.MaxLength}"));
        var history = new Trainer(network, optimizer) { Test = _data.Take(4) }.Fit(_data.Take(4), 1);
        Assert.That(history.Epochs[0].TestLoss, Is.Not.Null);
    }

    [Test]
    public void Arguments_that_do_not_fit_are_refused()
    {
        using var setup = new Setup();
        var many = new ImageDataset("many", 1, 8, 8, 4, new byte[64], new byte[1]);
        Assert.That(() => Trainer.Evaluate(null!, _data), Throws.ArgumentNullException);
        Assert.That(() => Trainer.Evaluate(setup.Network, null!), Throws.ArgumentNullException);
        Assert.That(() => Trainer.Evaluate(setup.Network, many),
            Throws.ArgumentException.With.Message.StartsWith(
                "data: data set 'many' has 4 classes, expected at most the network's 3 outputs"));
        Assert.That(() => Trainer.Evaluate(setup.Network, _data, new CancellationToken(true)),
            Throws.InstanceOf<OperationCanceledException>());
    }
}
