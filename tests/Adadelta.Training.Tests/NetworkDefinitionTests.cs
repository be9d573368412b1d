using Adadelta.Native;
using NUnit.Framework;

namespace Adadelta.Training.Tests;

internal sealed class NetworkDefinitionTests
{
    private static readonly string s_folder = Path.Combine(Repository(), "src", "Adadelta.Training", "Networks");

    [Test]
    public void The_reference_network_is_that_of_the_reference_run()
    {
        using var context = ComputeContext.Create();
        using var network = NetworkDefinition.Reference.For(new(1, 28, 28), 10).Build(context, seed: 3, maxBatchSize: 2);
        using var same = new NetworkBuilder(1, 28, 28)
            .Conv2d(32, kernel: 5).MaxPool2d(2).ReLU()
            .Conv2d(64, kernel: 5).MaxPool2d(2).ReLU()
            .Flatten().Linear(512).ReLU().Linear(10)
            .Build(context, seed: 3, maxBatchSize: 2);
        Assert.That(network.Layers, Is.EqualTo(same.Layers));
        Assert.That(network.MaxBatchSize, Is.EqualTo(2));
        foreach (var (parameter, expected) in network.Parameters.Zip(same.Parameters))
        {
            Assert.That(parameter.Name, Is.EqualTo(expected.Name));
            Assert.That(parameter.Value.ToArray(), Is.EqualTo(expected.Value.ToArray()));
        }
    }

    [Test]
    public void Every_property_reaches_the_builder()
    {
        using var context = ComputeContext.Create();
        using var network = NetworkDefinition.Load(Path.Combine(s_folder, "dilated.json")).For(new(3, 20, 18), 7).Build(context);
        using var same = new NetworkBuilder(3, 20, 18)
            .Conv2d(16, (3, 5), padding: (1, 2), name: "wide").ReLU("wide_relu")
            .Conv2d(32, 3, padding: 2, dilation: 2, bias: false, name: "dilated").MaxPool2d(3, stride: 2, padding: 1, name: "pool").ReLU()
            .Flatten().Linear(128).ReLU().Dropout(0.25f).Linear(7, name: "classifier")
            .Build(context);
        Assert.That(network.Layers, Is.EqualTo(same.Layers));
        Assert.That(network.Parameters.Select(parameter => parameter.Name), Is.EqualTo(same.Parameters.Select(parameter => parameter.Name)));
    }

    [TestCase("reference.json")]
    [TestCase("lenet5.json")]
    [TestCase("small.json")]
    [TestCase("dilated.json")]
    public void Every_example_builds_for_mnist_and_survives_being_written(string file)
    {
        var definition = NetworkDefinition.Load(Path.Combine(s_folder, file)).For(new(1, 28, 28), 10);
        var again = NetworkDefinition.Parse(definition.ToJson(), "again");
        Assert.That(again.ToJson(), Is.EqualTo(definition.ToJson()));
        using var context = ComputeContext.Create();
        using var network = definition.Build(context);
        using var other = again.Build(context);
        Assert.That(network.OutputCount, Is.EqualTo(10));
        Assert.That(other.Layers, Is.EqualTo(network.Layers));
    }

    [Test]
    public void What_the_data_decides_stays_open_until_it_is_known()
    {
        const string Json = """{ "layers": [ { "type": "Flatten" }, { "type": "LINEAR", "out_features": "classes", }, ] } // types in any case""";
        var definition = NetworkDefinition.Parse(Json, "net.json");
        Assert.That(definition.Input, Is.Null);
        Assert.That(definition.ToJson(), Does.Contain("\"classes\""));
        using var context = ComputeContext.Create();
        Assert.That(() => definition.Build(context), Throws.InvalidOperationException.With.Message.Contains("call For first"));
        using var network = definition.For(new(3, 4, 5), 26).Build(context);
        Assert.That((network.InputShape, network.OutputCount), Is.EqualTo((new ImageShape(3, 4, 5), 26)));
    }

    [TestCase("", "not valid JSON")]
    [TestCase("{", "line 1, byte 2: not valid JSON")]
    [TestCase("{ \"layers\": [ ],\n \"layers\": [ ] }", "not valid JSON")]
    [TestCase("[]", "[], expected an object with the property layers")]
    [TestCase("{}", "layers is missing, expected an array of layers")]
    [TestCase("""{ "layers": [] }""", "layers: [], expected an array of at least one layer")]
    [TestCase("""{ "layers": "conv2d" }""", "layers: \"conv2d\", expected an array of at least one layer")]
    [TestCase("""{ "layer": [] }""", "unknown property 'layer', expected one of input, layers")]
    [TestCase("""{ "layers": [ 5 ] }""", "layers[0]: 5, expected an object with the property type")]
    [TestCase("""{ "layers": [ { "kernel": 5 } ] }""", "layers[0]: type is missing, expected one of conv2d, maxpool2d, avgpool2d, relu, flatten, linear, dropout")]
    [TestCase("""{ "layers": [ { "type": 5 } ] }""", "layers[0]: type: 5, expected one of conv2d")]
    [TestCase("""{ "layers": [ { "type": "relu" }, { "type": "softmax" } ] }""", "layers[1]: type: \"softmax\", expected one of conv2d")]
    [TestCase("""{ "layers": [ { "type": "relu", "slope": 1 } ] }""", "layers[0] (relu): unknown property 'slope', expected one of type, name")]
    [TestCase("""{ "layers": [ { "type": "relu", "name": 1 } ] }""", "layers[0] (relu): name: 1, expected a text")]
    [TestCase("""{ "layers": [ { "type": "linear", "units": 5 } ] }""", "layers[0] (linear): unknown property 'units', expected one of type, name, out_features, bias")]
    [TestCase("""{ "layers": [ { "type": "linear", "name": "head" } ] }""", "layers[0] (linear 'head'): out_features is missing, expected a whole number >= 1 or \"classes\"")]
    [TestCase("""{ "layers": [ { "type": "linear", "out_features": 0 } ] }""", "layers[0] (linear): out_features: 0, expected a whole number >= 1")]
    [TestCase("""{ "layers": [ { "type": "linear", "out_features": 2.5 } ] }""", "out_features: 2.5, expected a whole number >= 1")]
    [TestCase("""{ "layers": [ { "type": "linear", "out_features": 1e99 } ] }""", "out_features: 1e99, expected a whole number >= 1")]
    [TestCase("""{ "layers": [ { "type": "linear", "out_features": "10" } ] }""", "out_features: \"10\", expected a whole number >= 1 or \"classes\"")]
    [TestCase("""{ "layers": [ { "type": "linear", "out_features": null } ] }""", "out_features: null, expected a whole number >= 1")]
    [TestCase("""{ "layers": [ { "type": "linear", "out_features": 5, "bias": 1 } ] }""", "bias: 1, expected true or false")]
    [TestCase("""{ "layers": [ { "type": "conv2d", "out_channels": 5 } ] }""", "layers[0] (conv2d): kernel is missing, expected a whole number >= 1, or [height, width] of such")]
    [TestCase("""{ "layers": [ { "type": "conv2d", "out_channels": 5, "kernel": 0 } ] }""", "kernel: 0, expected a whole number >= 1")]
    [TestCase("""{ "layers": [ { "type": "conv2d", "out_channels": 5, "kernel": [3] } ] }""", "kernel: [3], expected a whole number >= 1, or [height, width] of such")]
    [TestCase("""{ "layers": [ { "type": "conv2d", "out_channels": 5, "kernel": [3, "3"] } ] }""", "kernel: [3, \"3\"], expected a whole number >= 1")]
    [TestCase("""{ "layers": [ { "type": "conv2d", "out_channels": 5, "kernel": 3, "stride": 0 } ] }""", "stride: 0, expected a whole number >= 1")]
    [TestCase("""{ "layers": [ { "type": "conv2d", "out_channels": 5, "kernel": 3, "padding": [0, -1] } ] }""", "padding: [0, -1], expected a whole number >= 0")]
    [TestCase("""{ "layers": [ { "type": "conv2d", "out_channels": 5, "kernel": 3, "dilation": 1.5 } ] }""", "dilation: 1.5, expected a whole number >= 1")]
    [TestCase("""{ "layers": [ { "type": "maxpool2d", "kernel": 2, "dilation": 2 } ] }""", "layers[0] (maxpool2d): unknown property 'dilation'")]
    [TestCase("""{ "layers": [ { "type": "avgpool2d" } ] }""", "layers[0] (avgpool2d): kernel is missing")]
    [TestCase("""{ "layers": [ { "type": "dropout", "probability": 1 } ] }""", "probability: 1, expected 0 <= probability < 1")]
    [TestCase("""{ "layers": [ { "type": "dropout", "probability": 0.99999999 } ] }""", "probability: 0.99999999, expected 0 <= probability < 1")]
    [TestCase("""{ "layers": [ { "type": "dropout", "probability": -0.1 } ] }""", "probability: -0.1, expected 0 <= probability < 1")]
    [TestCase("""{ "input": [28, 28], "layers": [ { "type": "flatten" } ] }""", "input: [28, 28], expected [channels, height, width], whole numbers >= 1")]
    [TestCase("""{ "input": [0, 28, 28], "layers": [ { "type": "flatten" } ] }""", "input: [0, 28, 28], expected [channels, height, width], whole numbers >= 1")]
    [TestCase("""{ "input": "mnist", "layers": [ { "type": "flatten" } ] }""", "input: \"mnist\", expected [channels, height, width]")]
    public void A_mistake_is_named_with_its_place_value_and_bound(string json, string message) => Assert.That(
        () => NetworkDefinition.Parse(json, "net.json"),
        Throws.TypeOf<InvalidDataException>().With.Message.StartsWith("net.json: ").And.Message.Contains(message));

    [TestCase("""{ "layers": [ { "type": "linear", "out_features": 5 } ] }""", "fc1")]
    [TestCase("""{ "layers": [ { "type": "conv2d", "name": "wide", "out_channels": 5, "kernel": 9 } ] }""", "wide")]
    [TestCase("""{ "layers": [ { "type": "maxpool2d", "kernel": 2, "padding": 2 } ] }""", "pool1")]
    [TestCase("""{ "layers": [ { "type": "relu", "name": "a b" } ] }""", "a b")]
    [TestCase("""{ "layers": [ { "type": "relu", "name": "same" }, { "type": "relu", "name": "same" } ] }""", "same")]
    public void Layers_that_do_not_fit_are_named_by_the_library(string json, string name)
    {
        using var context = ComputeContext.Create();
        Assert.That(
            () => NetworkDefinition.Parse(json, "net.json").For(new(1, 8, 8), 5).Build(context),
            Throws.TypeOf<InvalidDataException>().With.Message.StartsWith("net.json: ").And.Message.Contains(name));
    }

    [Test]
    public void Nesting_without_end_is_refused() => Assert.That(
        () => NetworkDefinition.Parse(string.Concat(Enumerable.Repeat("[", 100_000)), "net.json"),
        Throws.TypeOf<InvalidDataException>().With.Message.StartsWith("net.json: line 1, byte ").And.Message.Contains("not valid JSON"));

    [TestCase("""{ "layers": [ { "type": "linear", "out_features": 2147483648 } ] }""", "out_features: 2147483648, expected a whole number >= 1")]
    [TestCase("""{ "layers": [ { "type": "linear", "out_features": -0 } ] }""", "out_features: -0, expected a whole number >= 1")]
    [TestCase("""{ "layers": [ { "type": "linear", "out_features": 1e999 } ] }""", "out_features: 1e999, expected a whole number >= 1")]
    [TestCase("""{ "layers": [ { "type": "dropout", "probability": 1e999 } ] }""", "probability: 1e999, expected 0 <= probability < 1")]
    [TestCase("""{ "layers": [ { "type": "dropout", "probability": NaN } ] }""", "not valid JSON")]
    [TestCase("""{ "layers": [ { "type": "relu", "name": "\ud800" } ] }""", "not valid JSON")]
    [TestCase("""{ "layers": [ { "type": "relu", "\udc00": 1 } ] }""", "not valid JSON")]
    public void Numbers_and_texts_at_the_edge_are_refused(string json, string message) => Assert.That(
        () => NetworkDefinition.Parse(json, "net.json"),
        Throws.TypeOf<InvalidDataException>().With.Message.StartsWith("net.json: ").And.Message.Contains(message));

    [Test]
    public void Half_of_a_pair_of_surrogates_is_refused() => Assert.That(
        () => NetworkDefinition.Parse($$"""{ "layers": [ { "type": "relu", "name": "{{'\ud800'}}" } ] }""", "net.json"),
        Throws.TypeOf<InvalidDataException>().With.Message.StartsWith("net.json: not valid JSON"));

    // What the text allows and the library does not: 2^31 - 1 of everything.
    [TestCase("""{ "type": "linear", "out_features": 2147483647 }""")]
    [TestCase("""{ "type": "conv2d", "out_channels": 2147483647, "kernel": 1 }""")]
    [TestCase("""{ "type": "conv2d", "out_channels": 1, "kernel": 2147483647 }""")]
    [TestCase("""{ "type": "conv2d", "out_channels": 1, "kernel": 3, "padding": 2147483647 }""")]
    [TestCase("""{ "type": "conv2d", "out_channels": 1, "kernel": 3, "dilation": 2147483647 }""")]
    public void Layers_beyond_all_bounds_are_refused_when_the_network_is_built(string layer)
    {
        using var context = ComputeContext.Create(Device.Cpu);
        var definition = NetworkDefinition.Parse($$"""{ "layers": [ {{layer}} ] }""", "net.json").For(new(1, 8, 8), 5);
        Assert.That(() => definition.Build(context, maxBatchSize: 4096).Dispose(),
            Throws.TypeOf<InvalidDataException>().Or.InstanceOf<OutOfMemoryException>().With.Message.StartsWith("net.json: "));
    }

    [TestCase("", "an empty file, expected a network as JSON text")]
    [TestCase("<html></html>", "a web page")]
    [TestCase("PK\u0003\u0004", "a ZIP archive")]
    [TestCase("version https://git-lfs.github.com/spec/v1", "a Git LFS pointer")]
    public void Another_kind_of_file_is_named(string text, string message)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["net.json"], text);
        Assert.That(() => NetworkDefinition.Load(folder["net.json"]),
            Throws.TypeOf<InvalidDataException>().With.Message.StartsWith($"{folder["net.json"]}: {message}"));
    }

    [Test]
    public void A_file_that_is_too_large_or_no_UTF_8_or_a_folder_is_refused()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["large"], "{".PadRight((1 << 20) + 1));
        Assert.That(() => NetworkDefinition.Load(folder["large"]), Throws.TypeOf<InvalidDataException>().With.Message.EqualTo(
            $"{folder["large"]}: 1048577 bytes, expected at most 1048576 of a network"));
        File.WriteAllBytes(folder["latin"], [.. "{ \"layers\": [ { \"type\": \"relu\", \"name\": \""u8, 0xe9, .. "\" } ] }"u8]);
        Assert.That(() => NetworkDefinition.Load(folder["latin"]),
            Throws.TypeOf<InvalidDataException>().With.Message.StartsWith($"{folder["latin"]}: not UTF-8 text"));
        Assert.That(() => NetworkDefinition.Load(folder.FullName),
            Throws.TypeOf<IOException>().With.Message.EqualTo($"{folder.FullName}: a folder, expected a file"));
    }

    [Test]
    public void Images_of_another_shape_and_no_classes_are_refused()
    {
        var definition = NetworkDefinition.Load(Path.Combine(s_folder, "lenet5.json"));
        Assert.That(
            () => definition.For(new(3, 32, 32), 10),
            Throws.TypeOf<InvalidDataException>().With.Message.EndsWith("lenet5.json: input: 1x28x28, but the images are 3x32x32"));
        Assert.That(() => definition.For(new(1, 28, 28), 0), Throws.InstanceOf<ArgumentOutOfRangeException>());
    }

    private static string Repository([System.Runtime.CompilerServices.CallerFilePath] string file = "") =>
        Path.GetFullPath(Path.Combine(Path.GetDirectoryName(file)!, "..", ".."));
}
