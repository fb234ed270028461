/* The descriptors that wake an idle worker from outside. */

struct gearman_id_t {
  int read_fd;
  int write_fd;
};
typedef struct gearman_id_t gearman_id_t;

gearman_return_t gearman_kill(const gearman_id_t handle, const gearman_signal_t);
bool gearman_id_valid(const gearman_id_t handle);
gearman_id_t gearman_id_initialize(void);
