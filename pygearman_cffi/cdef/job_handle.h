/* The buffer a job handle is written into. */

typedef char gearman_job_handle_t[GEARMAN_JOB_HANDLE_SIZE];
