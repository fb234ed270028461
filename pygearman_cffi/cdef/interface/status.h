/* The answer to gearman_client_unique_status(); read it with the accessors of
 * ../status.h. */

enum gearman_status_version_t {
  GEARMAN_STATUS_V1
};

struct gearman_status_v1_t {
  gearman_return_t result_rc;
  bool is_known;
  bool is_running;
  uint32_t numerator;
  uint32_t denominator;
  uint32_t client_count;
};

/* In C `status_` is a union of `mesg_` and as many bytes. libffi cannot pass a union by
 * value, so here it is a struct of that member alone: same size, offsets and path. */
struct gearman_status_t {
  enum gearman_status_version_t version_;
  struct {
    struct gearman_status_v1_t mesg_;
  } status_;
};

