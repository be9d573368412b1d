namespace Adadelta.Training;

/// <summary>What was to be saved holds numbers that loading refuses.</summary>
internal sealed class UnloadableException(string message) : InvalidOperationException(message);
