/* All that NVIDIA's headers for inference need of CUDA's: two names. So nothing of CUDA has to be installed. */
typedef struct CUstream_st *cudaStream_t;
typedef struct CUevent_st *cudaEvent_t;
