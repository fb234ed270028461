/* How gearman_execute() submits its job. */

enum gearman_task_attr_kind_t {
  GEARMAN_TASK_ATTR_FOREGROUND,
  GEARMAN_TASK_ATTR_BACKGROUND,
  GEARMAN_TASK_ATTR_EPOCH
};

struct gearman_task_attr_epoch_t {
  time_t value;
};

/* In C `options` is a union of `epoch` and as many bytes. libffi cannot pass a union by
 * value, so here it is a struct of that member alone: same size, offsets and path. */
struct gearman_task_attr_t {
  enum gearman_task_attr_kind_t kind;
  gearman_job_priority_t priority;
  struct {
    struct gearman_task_attr_epoch_t epoch;
  } options;
};

gearman_task_st *gearman_next(gearman_task_st *task);
gearman_task_attr_t gearman_task_attr_init(gearman_job_priority_t priority);
gearman_task_attr_t gearman_task_attr_init_epoch(
    time_t epoch, gearman_job_priority_t priority);
gearman_task_attr_t gearman_task_attr_init_background(gearman_job_priority_t priority);
