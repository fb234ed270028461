/* Worker functions, passed and returned by value. */

enum gearman_function_kind_t {
  GEARMAN_WORKER_FUNCTION_NULL,
  GEARMAN_WORKER_FUNCTION_V1,
  GEARMAN_WORKER_FUNCTION_V2,
  GEARMAN_WORKER_FUNCTION_PARTITION
};

struct gearman_function_v1_t {
  gearman_worker_fn *func;
};

struct gearman_function_v2_t {
  gearman_function_fn *func;
};

struct gearman_function_partition_v1_t {
  gearman_function_fn *func;
  gearman_aggregator_fn *aggregator;
};

/* In C `callback` is a union. libffi cannot pass a union by value, so here it is a
 * struct of the union's largest member alone: same size, same offsets, same path. */
struct gearman_function_t {
  enum gearman_function_kind_t kind;
  struct {
    struct gearman_function_partition_v1_t partitioner;
  } callback;
};
typedef struct gearman_function_t gearman_function_t;

gearman_function_t gearman_function_create(gearman_function_fn func);
gearman_function_t gearman_function_create_partition(
    gearman_function_fn func, gearman_aggregator_fn aggregator);
gearman_function_t gearman_function_create_v1(gearman_worker_fn func);
gearman_function_t gearman_function_create_v2(gearman_function_fn func);
