using Adadelta.Training;

namespace Adadelta.Reliability.Tests;

/// <summary>A training with the tool that saves a checkpoint after every step, and what its end looks like when nothing disturbs it.</summary>
internal static class Training
{
    // Weights and state of 2.4 MB, so that a checkpoint takes some milliseconds to write.
    private static readonly string s_network = TestFolder.Write("net.json", """
        {
          "layers": [
            { "type": "flatten" }, { "type": "dropout", "probability": 0.25 }, { "type": "linear", "out_features": 250 },
            { "type": "relu" }, { "type": "linear", "out_features": "classes" }
          ]
        }
        """);

    private static readonly string[] s_arguments =
    [
        "train", "--data", "digits", "--limit", "320", "--network", s_network, "--batch-size", "16", "--epochs", "10", "--threads", "1",
        "--seed", "5", "--checkpoint-steps", "1",
    ];

    private static readonly Lazy<string> s_undisturbed = new(() =>
    {
        var output = TestFolder.New("undisturbed");
        AssertSucceeds(Tool.Run([.. s_arguments, "--output", output]));
        return output;
    });

    public static IReadOnlyList<string> Arguments => s_arguments;

    public static string Checkpoint(string output) => Path.Combine(output, "checkpoint.safetensors");

    /// <summary>Reads a checkpoint, all of it, and gives the steps that it has.</summary>
    public static int Steps(string output) =>
        (int)SafeTensors.Read(Checkpoint(output)).Tensors.Single(tensor => tensor.Name == "training.losses").Shape[0];

    public static string[] Resume(string checkpoint, string output) =>
        ["train", "--resume", checkpoint, "--output", output, "--threads", "1", "--checkpoint-steps", "1"];

    public static void AssertSucceeds(ToolResult result) => Assert.That(result.ExitCode, Is.Zero, result.Error);

    /// <summary>Goes on from the checkpoint in a folder and expects the bits of the training that nothing disturbed.</summary>
    public static void AssertGoesOn(string output)
    {
        var rest = TestFolder.New("rest");
        AssertSucceeds(Tool.Run(Resume(Checkpoint(output), rest)));
        AssertSameEnd(rest);
    }

    /// <summary>Expects the end of the training that nothing disturbed.</summary>
    public static void AssertSameEnd(string output)
    {
        foreach (var file in (string[])["model.safetensors", "steps.csv"])
        {
            Assert.That(
                File.ReadAllBytes(Path.Combine(output, file)), Is.EqualTo(File.ReadAllBytes(Path.Combine(s_undisturbed.Value, file))),
                file);
        }
    }
}
