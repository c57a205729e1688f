"""Columns of the tables that Neuronpedia's bulk files are imported into.

Source: github.com/hijohnnylin/neuronpedia at ebb8426, apps/webapp/prisma/schema.prisma (models Neuron,
Activation, Explanation, ExplanationScore, Source, SourceSet, SourceRelease, Model and the kinds of config/).
Relations are left out. NEEDED are those without a default that can't be NULL.
"""

from __future__ import annotations

COLUMNS = {
    "features": """modelId layer index sourceSetName creatorId createdAt maxActApprox hasVector
        vector vectorLabel vectorDefaultSteerStrength hookName topkCosSimIndices
        topkCosSimValues neuron_alignment_indices neuron_alignment_values
        neuron_alignment_l1 correlated_neurons_indices correlated_neurons_pearson
        correlated_neurons_l1 correlated_features_indices correlated_features_pearson
        correlated_features_l1 neg_str neg_values pos_str pos_values frac_nonzero
        freq_hist_data_bar_heights freq_hist_data_bar_values
        logits_hist_data_bar_heights logits_hist_data_bar_values decoder_weights_dist
        umap_cluster umap_log_feature_sparsity umap_x umap_y""",
    "activations": """id tokens dataIndex index layer modelId dataSource maxValue maxValueTokenIndex
        minValue values dfaValues dfaTargetIndex dfaMaxValue zQIndices zKIndices zValues
        creatorId createdAt lossValues logitContributions binMin binMax binContains
        qualifyingTokenIndex""",
    "explanations": """id modelId layer index embedding description authorId triggeredByUserId notes
        scoreV1 scoreV2 umap_x umap_y umap_cluster umap_log_feature_sparsity typeName
        explanationModelName createdAt updatedAt""",
    "explanation_scores": """id initiatedByUserId value explanationId explanationScoreTypeName
        explanationScoreModelName jsonDetails createdAt""",
    "source": """id modelId hasDashboards inferenceEnabled saelensConfig saelensRelease
        saelensSaeId hfRepoId hfFolderId visibility defaultOfModelId setName creatorId
        hasUmap hasUmapLogSparsity hasUmapClusters num_prompts num_tokens_in_prompt
        dataset notes cosSimMatchModelId cosSimMatchSourceId createdAt""",
    "sourceset": """modelId name hasDashboards allowInferenceSearch visibility description type
        creatorName urls creatorEmail creatorId releaseName hasGraphs graphEnabled
        similarityMatrixEnabled defaultOfModelId defaultGraphModelId defaultRange
        defaultShowBreaks showDfa showCorrelated showHeadAttribution showUmap createdAt""",
    "release": """name visibility isNewUi featured description descriptionShort urls creatorEmail
        creatorName creatorNameShort creatorId defaultSourceSetName defaultSourceId
        defaultUmapSourceIds createdAt""",
    "model": """id displayNameShort displayName creatorId tlensId openRouterId dimension
        thinking visibility defaultSourceSetName defaultSourceId
        defaultGraphSourceSetName inferenceEnabled instruct layers neuronsPerLayer
        createdAt owner updatedAt website""",
    "explanation_type": """name displayName description featured isAttention explainerModelSettingsId
        settings url creatorName creatorId createdAt updatedAt""",
    "explanation_model_type": """name displayName description featured openRouterModelId url creatorName
        createdAt updatedAt""",
    "explanation_score_type": """name displayName description featured isAttention scoreDescription
        scorerModel
        settings url creatorName creatorId createdAt updatedAt""",
    "explanation_score_model": """name displayName description featured openRouterModelId url creatorName
        createdAt updatedAt""",
}
NEEDED = {
    "features": "modelId layer index",
    "activations": "id tokens index layer modelId maxValue maxValueTokenIndex minValue values creatorId",
    "explanations": "id modelId layer index description authorId",
    "explanation_scores": """id initiatedByUserId value explanationId explanationScoreTypeName
        explanationScoreModelName""",
    "source": "id modelId setName creatorId",
    "sourceset": "modelId name description creatorName creatorId",
    "release": "name description creatorName creatorId",
    "model": "id displayName creatorId layers neuronsPerLayer owner",
    "explanation_type": "name displayName description creatorName creatorId",
    "explanation_model_type": "name displayName description creatorName",
    "explanation_score_type": "name displayName description creatorName creatorId",
    "explanation_score_model": "name displayName description creatorName",
}
NEVER_NULL = {
    "features": {"modelId", "layer", "index", "hasVector", "frac_nonzero"},
    "activations": {"id", "tokens", "maxValue", "maxValueTokenIndex", "minValue", "values", "creatorId"},
    "explanations": {"id", "description", "authorId"},
    "explanation_scores": {"id", "value", "explanationId", "explanationScoreTypeName", "jsonDetails"},
}
