/* The aggregator of a partitioned function; upstream spells the name so. */

void *gearman_aggegator_context(gearman_aggregator_st *self);
